"""Gradients against finite differences: what a small step in a direction does to a sum of logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from neuron_explainer.checking.comparison import in_order, one_layer_each
from neuron_explainer.checking.copies import in_dtype, why_not_copied
from neuron_explainer.checking.findings import Finding, Where, failed, not_checked, passed
from neuron_explainer.checking.logit_sums import sum_of_logits
from neuron_explainer.checking.probes import Probe, random_normal
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_N_TOKENS, _SEED = 3, 1
_ROWS_AT_ONCE = 24
_STEPS = {torch.float64: (1e-5, 1e-6, 1e-7), torch.float32: (1e-2, 2e-3, 4e-4)}
"""How far a step goes, as a share of what is there. A shorter one follows where a longer one may have crossed a kink,
as where a router chooses other experts; a wrong gradient stays wrong.

Two experts may also have so nearly equal scores that the shortest step crosses; but one way alone. So the slope of one
way will do.
"""
_ALLOWED = {torch.float64: 1e-5, torch.float32: 0.05}
_NEVER_DIFFERENTIABLE = frozenset({_PLACE.ATTN_QK_LOGITS})
"""It holds infinities, from which no step can be taken; the pattern after it is checked."""


def gradients(model: Transformer, probe: Probe, *, everywhere: bool) -> Iterator[Finding]:
    """Whether the gradient of a sum of logits is the limit of its differences.

    The sum is of the last token's logits, each times a random number. At each place a step goes along the gradient,
    and as far again in a random direction. Both ends are rows of one batch, whose last row stays as it is.

    Rounding hides small faults, so a model in low precision is copied to float32 where memory allows, and with
    `everywhere` each model to float64.

    Args:
        model: the model.
        probe: prompts, of which a beginning is used.
        everywhere: at every place of every layer; else at every other place of one layer each.
    """
    name = "gradients"
    least = torch.float64 if everywhere else torch.float32
    finer = least if model.dtype.itemsize < least.itemsize else model.dtype
    reason = why_not_copied(finer, model)
    if reason is not None and model.dtype not in _STEPS:
        yield not_checked(name, f"Differences in {name_of_dtype(model.dtype)} are too rough, and {reason}.")
        return
    copied = model if reason is not None else in_dtype(model, finer)
    keys = [key for key in in_order(model.config.n_layers) if key[0] not in _NEVER_DIFFERENTIABLE]
    chosen = keys if everywhere else one_layer_each(keys, model.config.n_layers)[::2]
    yield _of_places(
        copied, probe.alone(0).tokens[:, :_N_TOKENS], chosen, "of every layer" if everywhere else "in one layer each"
    )


def _of_places(model: Transformer, tokens: Tensor, chosen: Sequence[PlaceAndLayer], covered: str) -> Finding:
    with model.record(sorted({place for place, _ in chosen}, key=str), gradients=True) as recording:
        recording.backward(sum_of_logits(model(tokens), _SEED)[0])
        values = {key: recording[key].detach() for key in chosen}
        slopes = {key: recording.gradient(*key).detach() for key in chosen}
    largest, allowed = 0.0, _ALLOWED[model.dtype]
    # A fault makes the gradients of all places before it wrong, so going back the first one is nearest to it.
    back = list(reversed(chosen))
    for start in range(0, len(back), _ROWS_AT_ONCE // 2):
        left = back[start : start + _ROWS_AT_ONCE // 2]
        found = dict.fromkeys(left, math.inf)
        for share in _STEPS[model.dtype]:
            steps = {key: _step(values[key][0], slopes[key][0], share, number) for number, key in enumerate(left)}
            found |= dict(zip(left, _apart(model, tokens, left, steps, slopes), strict=True))
            left = [key for key in left if not found[key] <= allowed]
            if not left:
                break
        largest = max(largest, *found.values())
        if left:
            where = Where(*left[0])
            said = f"Going back from the logits, gradients are wrong first at {where}: small steps show another slope."
            return failed("gradients", said, found[left[0]], allowed, where)
    said = f"At {len(chosen)} places, {covered}, gradients are the slopes that small steps show."
    return passed("gradients", said, largest, allowed)


def _step(value: Tensor, slope: Tensor, share: float, seed: int) -> Tensor:
    chance = random_normal(value.shape, seed).to(value)
    along = slope / slope.norm().clamp(min=torch.finfo(slope.dtype).tiny)
    # A single number has two directions, which may cancel out.
    direction = chance / chance.norm() + (along if value.numel() > 1 else 0.0)
    return direction / direction.norm() * value.norm() * share


def _apart(
    model: Transformer,
    tokens: Tensor,
    keys: Sequence[PlaceAndLayer],
    steps: dict[PlaceAndLayer, Tensor],
    slopes: dict[PlaceAndLayer, Tensor],
) -> list[float]:
    """How far the slopes are from what gradients promise, as a share of the steepest there could be."""
    moved = [
        model.intervention(*key, _moved(2 * row, steps[key]))  # one row forth, the next back
        for row, key in enumerate(keys)
    ]
    with torch.no_grad():
        sums = sum_of_logits(model(tokens.expand(2 * len(keys) + 1, -1), hooks=moved), _SEED).cpu()
    found = []
    for row, key in enumerate(keys):
        step, slope = steps[key].double().cpu(), slopes[key][0].double().cpu()
        expected = float((slope * step).sum())
        forth, back = float(sums[2 * row] - sums[-1]), float(sums[-1] - sums[2 * row + 1])
        slopes_shown = ((forth + back) / 2, forth, back)
        steepest = float(slope.norm() * step.norm())
        if not steepest:
            found.append(math.inf if max(map(abs, slopes_shown)) > 1e-6 else 0.0)
            continue
        apart = min(abs(shown - expected) / steepest for shown in slopes_shown)
        found.append(apart if math.isfinite(apart) else math.inf)
    return found


def _moved(row: int, step: Tensor) -> Callable[[Tensor], Tensor]:
    def moved(tensor: Tensor) -> Tensor:
        tensor[row] += step
        tensor[row + 1] -= step
        return tensor

    return moved
