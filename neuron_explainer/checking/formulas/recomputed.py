"""All places of a pass against plain formulas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from neuron_explainer.checking.alone.judging import of_place
from neuron_explainer.checking.comparison import difference_at, in_order, of_beginning
from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.checking.formulas.layer_formulas import certain_tokens, expected_at_ends, expected_in_layer
from neuron_explainer.checking.probes import Probe
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

ALLOWED = {torch.float64: 1e-5, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.06}
"""Each place is computed from what was recorded just before it, so little rounding is between; in float64 it is that
of angles, which are float32."""
_N_BEGINNING = 12
_OF_ANGLE = 4e-7
"""How much of that an angle has for each position: it grows with the position, and its rounding with it."""


def recomputed(
    model: Transformer,
    probe: Probe,
    recorded: Mapping[PlaceAndLayer, Tensor],
    *,
    everywhere: bool = True,
    only: Sequence[int] | None = None,
) -> Iterator[Finding]:
    """Whether each place is what the formulas give from what was recorded before it.

    Args:
        model: the model.
        probe: the prompts.
        recorded: all places of the pass; or with `only` those of these layers, and the stream that they read.
        everywhere: in every prompt in every layer; else in the first one's beginning, in three layers in all of them.
        only: the layers; None: all, and the ends.
    """
    name = "formulas"
    if model.is_offloaded:
        yield not_checked(name, "The weights stay on the disk (offload).")
        return
    allowed, largest, n = max(ALLOWED[model.dtype], _OF_ANGLE * probe.tokens.shape[1]), 0.0, 0
    undecided: list[str] = []
    with torch.no_grad():
        n_layers = model.config.n_layers
        of_all = range(n_layers) if everywhere else (0, n_layers // 2, n_layers - 1)
        first = {key: of_beginning(key, each[:1], _N_BEGINNING) for key, each in recorded.items()}
        ends = expected_at_ends(model, recorded, probe.tokens) if only is None else {}
        by_layer: dict[int | None, dict[PlaceAndLayer, Tensor]] = {None: ends}
        for key in in_order(n_layers):
            layer = key[1]
            if only is not None and layer not in only:
                continue
            is_whole = layer is None or layer in of_all
            looked_at = recorded if is_whole else first
            if layer is not None and layer not in by_layer:
                by_layer = {None: ends, layer: expected_in_layer(model, layer, looked_at, probe.tokens.shape[1])}
            real, certain = (
                probe.real if is_whole else probe.real[:1, :_N_BEGINNING],
                certain_tokens(model, key, looked_at),
            )
            if certain is not None:
                real = real & certain
                undecided += [str(layer)] if not real.any() else []
            apart = of_place(model, difference_at(key, looked_at[key], by_layer[layer][key], real))
            largest, n = max(largest, apart.relative), n + 1
            if not apart.relative <= max(allowed, _of_softmax(key, looked_at)):
                where = apart.first_beyond(allowed)
                said = f"What is computed is not what the formula gives from what comes before, first at {where}."
                yield failed(name, said, apart.relative, allowed, where)
                return
    yield passed(
        name, f"At {n:,} places, each is what a plain formula gives from what comes before it.", largest, allowed
    )
    if undecided:
        of_layers = ", ".join(dict.fromkeys(undecided))
        said = f"Routers have nearly equal scores at all tokens of layers {of_layers}: rounding chooses the experts."
        yield not_checked("formulas of experts", said)


def _of_softmax(key: PlaceAndLayer, recorded: Mapping[PlaceAndLayer, Tensor]) -> float:
    """What rounding of the recorded logits of attention does to a pattern: as much more as they are larger."""
    place, layer = key
    if place is not ActivationLocationType.ATTN_QK_PROBS:
        return 0.0
    logits = recorded[ActivationLocationType.ATTN_QK_LOGITS, layer]
    return 2 * torch.finfo(logits.dtype).eps * float(logits.abs().nan_to_num(posinf=0.0).max())
