"""Shards of a Jacobian lens, fitted on different prompts, joined."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch

from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, shown
from neuron_explainer.experiments.lenses.jacobian.files import form_of
from neuron_explainer.experiments.lenses.jacobian.jacobian_lens import JacobianLens, load_jacobian_lens
from neuron_explainer.vocabulary.checks import is_several
from neuron_explainer.wording import number_ranges

LensGiven = JacobianLens | str | os.PathLike[str]


def merge_jacobian_lenses(lenses: Iterable[LensGiven], out: str | os.PathLike[str] | None = None) -> JacobianLens:
    """Join lenses that were fitted on different prompts: the mean, weighted by their numbers of prompts.

    Shards in float32 joined are what one fit on all their prompts gives. Shards of a model can be fitted on several
    machines.

    Args:
        lenses: fitted lenses, or their files.
        out: where the joined lens is written; None: nowhere.

    Raises:
        MisconfiguredError: they have other layers, channels or target layers, or are of different models.
        InvalidRequestError: there are none, or the name of a file ends in neither `.safetensors` nor `.pt`.
        MissingFileError, MalformedCheckpointError: a file cannot be read.

    >>> import torch, neuron_explainer as ne
    >>> one, other = (ne.JacobianLens({0: torch.full((2, 2), x)}, n) for x, n in [(1.0, 3), (5.0, 1)])
    >>> ne.merge_jacobian_lenses([one, other]).matrices[0][0, 0].item()
    2.0
    """
    if isinstance(lenses, str | os.PathLike | JacobianLens) or not is_several(lenses):
        raise InvalidRequestError(f"lenses is {shown(lenses)}. Give a list of lenses or of their files.")
    if out is not None:
        form_of(out)
    read = [each if isinstance(each, JacobianLens) else load_jacobian_lens(each) for each in lenses]
    if not read:
        raise InvalidRequestError("The list of lenses is empty. Give at least one.")
    for number, each in enumerate(read):
        if _kind_of(each) != _kind_of(read[0]):
            raise MisconfiguredError(
                f"Lens {number} has {_kind_of(each)}, and the first one {_kind_of(read[0])}. Merge lenses that were "
                "fitted in the same way."
            )
    names = {each.model_name for each in read if each.model_name}
    if len(names) > 1:
        raise MisconfiguredError(f"The lenses are of different models: {', '.join(sorted(map(shown, names)))}.")
    total = sum(each.n_prompts for each in read)
    matrices = {}
    for layer in read[0].layers:
        summed = torch.zeros(read[0].d_model, read[0].d_model, dtype=torch.float64, device="cpu")
        for each in read:
            summed.add_(each.matrices[layer].cpu(), alpha=each.n_prompts / total)
        matrices[layer] = summed.float()
    merged = JacobianLens(matrices, total, read[0].target_layer, next(iter(names), ""))
    if out is not None:
        merged.save(out)
    return merged


def _kind_of(lens: JacobianLens) -> str:
    target = "the last layer" if lens.target_layer is None else f"layer {lens.target_layer}"
    return f"layers {number_ranges(lens.layers)}, {lens.d_model} channels, and {target} as target"
