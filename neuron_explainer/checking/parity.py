"""`check_parity`, an older name of a part of `check`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.checking.beside.given_reference import reference_of
from neuron_explainer.checking.beside.theirs import refuse_other_shapes, their_places
from neuron_explainer.checking.comparison import difference_at
from neuron_explainer.checking.passes import all_places
from neuron_explainer.checking.probes import Probe, random_probe
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    import pandas as pd


def check_parity(
    model: Any,
    hf_model: Any,
    *,
    tokens: Int[Tensor, "batch tokens"] | None = None,
    attention_mask: Bool[Tensor, "batch tokens"] | None = None,
) -> pd.DataFrame:
    """The difference between a model and its `transformers` reference, at every place and layer.

    It is an older name of a part of `ne.check(model, hf_model)`, whose report says more.

    Args:
        model: a `Transformer`, or a model context that has one.
        hf_model: the `transformers` model (a causal language model), with the same weights, dtype and device. It is in
            evaluation mode during the comparison.
        tokens: prompts, shape (batch, tokens); None means two random prompts of different lengths.
        attention_mask: True for real tokens, if `tokens` are padded on the right.

    Returns:
        A DataFrame with a row for each place and layer: `place`, `layer` (missing for a place without layers),
        `largest_difference`, and `largest_magnitude`, the largest finite absolute value in the reference.

    Raises:
        InvalidRequestError: `model` is neither of these, or `hf_model` is not a transformers model of the same family
            and sizes, or a place has another shape in it; the error names the place and the layer.
        CheckpointError: the reference's family is not supported, or it lacks a tensor that the model has.
    """
    import pandas as pd

    warnings.warn("check_parity is an older name. Use ne.check(model, hf_model).", DeprecationWarning, stacklevel=2)
    transformer = model.get_or_create_model() if hasattr(model, "get_or_create_model") else model
    if not isinstance(transformer, Transformer):
        raise InvalidRequestError(
            f"The model must be a Transformer or a model context that has one, not {type(transformer).__name__}."
        )
    if isinstance(hf_model, str):
        raise InvalidRequestError("The reference must be a transformers model in memory, not str.")
    theirs = reference_of(hf_model, transformer).model
    if tokens is None:
        if attention_mask is not None:
            raise InvalidRequestError("An attention mask belongs to tokens. Give tokens too.")
        probe = random_probe(transformer)
    else:
        probe = Probe(tokens, torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask)
    found, expected = all_places(transformer, probe), their_places(theirs, probe)
    refuse_other_shapes(found, expected)
    rows = []
    for place in ActivationLocationType:
        if place.is_online_autoencoder_place:
            continue
        for layer in [None] if place.has_no_layers else range(transformer.config.n_layers):
            key = (place, layer)
            apart = difference_at(key, found[key], expected[key], probe.real)
            rows.append((place.value, layer, apart.absolute, apart.magnitude))
    table = pd.DataFrame(rows, columns=["place", "layer", "largest_difference", "largest_magnitude"])
    return table.astype({"layer": "Int64"})
