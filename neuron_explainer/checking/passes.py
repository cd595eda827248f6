"""Recorded passes over the prompts of a check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor

from neuron_explainer.checking.comparison import in_order
from neuron_explainer.checking.findings import Where
from neuron_explainer.checking.probes import Probe
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

Recorded = Mapping[PlaceAndLayer, Tensor]
"""The tensors of a pass, by place and layer."""

_MINUS_INFINITY_WHERE_HIDDEN = ActivationLocationType.ATTN_QK_LOGITS


def recorded_places(
    model: Transformer, probe: Probe, places: Iterable[ActivationLocationType]
) -> dict[PlaceAndLayer, Tensor]:
    """The tensors of some places of a pass, in all layers."""
    with model.record(tuple(places)) as recording, torch.no_grad():
        model(probe.tokens, attention_mask=probe.real)
    return {key: recording[key] for key in recording}


def all_places(model: Transformer, probe: Probe) -> dict[PlaceAndLayer, Tensor]:
    """The tensors of all places of a pass."""
    return recorded_places(model, probe, {place for place, _ in in_order(model.config.n_layers)})


def first_not_finite(model: Transformer, recorded: Recorded, real: Bool[Tensor, "batch tokens"]) -> Where | None:
    """Where the first number is, in the order of a pass, that is infinite or not a number.

    Args:
        model: the model.
        recorded: all places of a pass.
        real: which tokens are real.
    """
    for place, layer in in_order(model.config.n_layers):
        tensor = recorded[place, layer]
        if bool(tensor.sum(dtype=torch.float32).isfinite()):
            continue  # so is each number
        tensor = tensor.flatten(2)
        fine = ~tensor.isnan() if place is _MINUS_INFINITY_WHERE_HIDDEN else tensor.isfinite()
        wrong = torch.nonzero(~fine.all(-1).cpu() & real.cpu())
        if len(wrong):
            prompt, token = wrong[0].tolist()
            return Where(place, layer, token, prompt)
    return None
