"""All places of a pass against plain formulas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from neuron_explainer.checking.alone.formulas import expected_at_ends, expected_in_layer
from neuron_explainer.checking.alone.judging import of_place
from neuron_explainer.checking.comparison import difference_at, in_order
from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.checking.probes import Probe
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer

ALLOWED = {torch.float64: 1e-5, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.06}
"""Each place is computed from what was recorded just before it, so little rounding is between; in float64 it is that
of angles, which are float32."""
_OF_ANGLE = 4e-7
"""How much of that an angle has for each position: it grows with the position, and its rounding with it."""


def recomputed(model: Transformer, probe: Probe, recorded: Mapping[PlaceAndLayer, Tensor]) -> Iterator[Finding]:
    """Whether each place is what the formulas give from what was recorded before it.

    Args:
        model: the model.
        probe: the prompts.
        recorded: all places of the pass.
    """
    tokens, real = probe.tokens, probe.real
    name = "formulas"
    if model.is_offloaded:
        yield not_checked(name, "The weights stay on the disk (offload).")
        return
    allowed, largest, n = max(ALLOWED[model.dtype], _OF_ANGLE * tokens.shape[1]), 0.0, 0
    with torch.no_grad():
        ends = expected_at_ends(model, recorded, tokens)
        layers = range(model.config.n_layers)
        by_layer: dict[int | None, dict[PlaceAndLayer, Tensor]] = {None: ends}
        for key in in_order(model.config.n_layers):
            if key[1] is not None and key[1] not in by_layer:
                by_layer = {None: ends, key[1]: expected_in_layer(model, key[1], recorded, tokens)}
            if key not in by_layer[key[1]]:
                continue
            apart = of_place(model, difference_at(key, recorded[key], by_layer[key[1]][key], real))
            largest, n = max(largest, apart.relative), n + 1
            if not apart.relative <= allowed:
                where = apart.first_beyond(allowed)
                said = f"What is computed is not what the formula gives from what comes before, first at {where}."
                yield failed(name, said, apart.relative, allowed, where)
                return
    yield passed(
        name, f"At {n:,} places, each is what a plain formula gives from what comes before it.", largest, allowed
    )
    if model.config.n_experts:
        yield not_checked(
            "formulas of experts", f"Routers and experts have no second formula here ({len(layers)} layers)."
        )
