"""The kinds of lenses: the logit lens, and fitted Jacobian lenses as objects, files, or those that come along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.experiments.lenses.jacobian.files import PUBLIC, SAFETENSORS
from neuron_explainer.experiments.lenses.jacobian.jacobian_lens import JacobianLens, load_jacobian_lens
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.model_registry import EMBEDDED_FOLDER

KindOfLens = Literal["logit", "jacobian"] | JacobianLens | str | os.PathLike[str]

EMBEDDED_LENS = Path(EMBEDDED_FOLDER) / "jacobian_lens.pt"
_EMBEDDED_MODEL = "tiny"


def read_kind(model: ModelContext, kind: KindOfLens) -> JacobianLens | None:
    """The Jacobian lens that is asked for; None for the logit lens.

    Raises:
        UnknownNameError: the name is neither a kind of lens nor that of a file of one.
        InvalidRequestError: "jacobian" is asked for, and none comes with the model.
        MisconfiguredError: the lens is of a model of other sizes.
        MissingFileError, MalformedCheckpointError: the file cannot be read.
    """
    if isinstance(kind, str) and kind == "logit":
        return None
    if isinstance(kind, JacobianLens):
        lens = kind
    elif isinstance(kind, str) and kind == "jacobian":
        if model.model_name != _EMBEDDED_MODEL:
            raise InvalidRequestError(
                f"No Jacobian lens comes with {shown(model.model_name)}. Fit one: lens = ne.fit_jacobian_lens(model, "
                'texts, "lens.safetensors"), and give it, or its file, as kind.'
            )
        lens = load_jacobian_lens(EMBEDDED_LENS)
    elif isinstance(kind, os.PathLike) or (isinstance(kind, str) and kind.endswith((PUBLIC, SAFETENSORS))):
        lens = load_jacobian_lens(kind)
    else:
        raise UnknownNameError(
            "kind of lens",
            kind,
            ["logit", "jacobian"],
            "Or give a fitted lens, or a file that ends in .pt or .safetensors.",
        )
    lens.check_model(model)
    return lens
