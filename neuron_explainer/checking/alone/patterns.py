"""Attention patterns: rows that sum to 1, over tokens that may be attended to, and no others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.checking.comparison import PlaceDifference, finding_of
from neuron_explainer.checking.findings import Finding, Where
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType.ATTN_QK_PROBS


def attention_rows(model: Transformer, probe: Probe, recorded: Mapping[PlaceAndLayer, Tensor]) -> Iterator[Finding]:
    """Whether every row of every head is a distribution over the tokens that it may attend to, with a sink beside them.

    Args:
        model: the model.
        probe: the prompts.
        recorded: the patterns of a pass.
    """
    return attention_rows_of(model, probe, recorded, range(model.config.n_layers))


def attention_rows_of(
    model: Transformer, probe: Probe, recorded: Mapping[PlaceAndLayer, Tensor], layers: Iterable[int]
) -> Iterator[Finding]:
    """As `attention_rows`, for some layers.

    Args:
        model: the model.
        probe: the prompts.
        recorded: their patterns.
        layers: the layers.
    """
    config, n = model.config, probe.tokens.shape[1]
    position = torch.arange(n, dtype=torch.int64, device="cpu")
    back = position[:, None] - position
    sums, outside = [], []
    for layer in layers:
        pattern = recorded[_PLACE, layer].detach().cpu().double()  # (batch, tokens, attended to, heads)
        window = config.sliding_window_by_layer[layer]
        hidden = (back < 0) | (back >= window) if window is not None else back < 0
        total = pattern.sum(2)
        too_much, too_little = (total - 1).amax(-1), (1 - total).amax(-1)
        sums.append(_difference(layer, too_much if config.attention_sinks else too_much.maximum(too_little), probe))
        beyond = (pattern.amax(-1) * hidden).amax(-1)
        outside.append(_difference(layer, beyond.maximum(-pattern.amin((2, 3))), probe))
    about = " at most 1, what a sink takes left out" if config.attention_sinks else " 1"
    yield finding_of(
        "rows of attention",
        sums,
        allowed_in(model.dtype),
        f"Every row of every pattern sums to{about}.",
        f"A row does not sum to{about}, first at",
    )
    yield finding_of(
        "who attends to whom",
        outside,
        0.0,
        "No token attends to a later one, to padding, or beyond its window.",
        "A token attends to one that it may not see, or with a negative weight, first at",
    )


def _difference(layer: int, apart: Float[Tensor, "batch tokens"], probe: Probe) -> PlaceDifference:
    """How far a layer's rows are from what they should be, by token; what is not a number is infinitely far."""
    by_token = torch.where(probe.real, apart.nan_to_num(nan=math.inf).clamp(min=0).abs(), 0.0)
    prompt, token = divmod(int(by_token.argmax()), by_token.shape[1])
    largest = float(by_token.max())
    return PlaceDifference(Where(_PLACE, layer, token, prompt), largest, largest, 1.0, by_token)
