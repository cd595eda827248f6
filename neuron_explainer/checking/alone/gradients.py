"""Gradients against finite differences: what a small step in a direction does to a sum of logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from neuron_explainer.checking.comparison import in_order, one_layer_each
from neuron_explainer.checking.copies import in_dtype, why_not_in
from neuron_explainer.checking.findings import Finding, Where, failed, not_checked, passed
from neuron_explainer.checking.logit_sums import sum_of_logits
from neuron_explainer.checking.probes import Probe, random_normal
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_SEED = 1
_ROWS_AT_ONCE = 24
_STEPS = {torch.float64: (1e-5, 1e-6, 1e-7), torch.float32: (1e-2, 2e-3, 4e-4)}
"""How far a step goes, as a share of what is there. A shorter one follows where a longer one may have crossed a kink,
as where a router chooses other experts; a wrong gradient stays wrong.

Two experts may also have so nearly equal scores that the shortest step crosses; but one way alone. So the slope of one
way will do.
"""
_ALLOWED = {torch.float64: 1e-5, torch.float32: 0.05}
_ROUNDINGS = 32
"""How many roundings of a logit a pass may have."""
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
        everywhere: at every place of every layer; else at every third place, in one layer each.
    """
    name = "gradients"
    least = torch.float64 if everywhere else torch.float32
    finer = least if model.dtype.itemsize < least.itemsize else model.dtype
    reason = None if model.dtype == finer else why_not_in(finer, model)
    if reason is not None and model.dtype not in _STEPS:
        yield not_checked(name, f"Differences in {name_of_dtype(model.dtype)} are too rough, and {reason}.")
        return
    copied = model if reason is not None else in_dtype(model, finer)
    keys = [key for key in in_order(model.config.n_layers) if key[0] not in _NEVER_DIFFERENTIABLE]
    chosen = keys if everywhere else one_layer_each(keys, model.config.n_layers)[::3]
    yield _of_places(
        copied,
        probe.alone(0).tokens[:, : 3 if everywhere else 2],
        chosen,
        "of every layer" if everywhere else "in one layer each",
    )


def _of_places(model: Transformer, tokens: Tensor, chosen: Sequence[PlaceAndLayer], covered: str) -> Finding:
    with model.record(list(chosen), gradients=True) as recording:
        recording.backward(sum_of_logits(model(tokens), _SEED)[0])
        values = {key: recording[key].detach() for key in chosen}
        slopes = {key: recording.gradient(*key).detach() for key in chosen}
    judged, largest, allowed = 0, 0.0, _ALLOWED[model.dtype]
    # A fault makes the gradients of all places before it wrong, so going back the first one is nearest to it.
    back = list(reversed(chosen))
    for start in range(0, len(back), _ROWS_AT_ONCE // 2):
        left = back[start : start + _ROWS_AT_ONCE // 2]
        several = {key: _Slope(slopes[key][0], allowed) for key in left}
        for share in _STEPS[model.dtype]:
            steps = {key: _step(values[key][0], slopes[key][0], share, number) for number, key in enumerate(left)}
            sums, rounding = _sums(model, tokens, left, steps)
            for row, key in enumerate(left):
                several[key].judge(steps[key], sums[2 * row] - sums[-1], sums[-1] - sums[2 * row + 1], rounding)
            left = [key for key in left if several[key].may_be_wrong]
            if not left:
                break
        judged += sum(each.is_right for each in several.values())
        largest = max(largest, *(each.apart for each in several.values() if each.is_right), 0.0)
        if left:
            where = Where(*left[0])
            said = f"Going back from the logits, gradients are wrong first at {where}: small steps show another slope."
            return failed("gradients", said, several[left[0]].apart, allowed, where)
    if not judged:
        return not_checked("gradients", "The effects of small steps are lost in rounding.")
    lost = f" At {len(chosen) - judged} more, steps are lost in rounding." if judged < len(chosen) else ""
    said = f"At {judged} places, {covered}, gradients are the slopes that small steps show.{lost}"
    return passed("gradients", said, largest, allowed)


class _Slope:
    """What is known of the gradient at a place, after steps of several lengths.

    Attributes:
        apart: how far it is from the slope that the last step showed, as a share of the steepest there could be.
        is_right: whether a step showed it.
        may_be_wrong: whether a shorter step could still show it.
    """

    def __init__(self, gradient: Tensor, allowed: float) -> None:
        self._gradient, self._allowed = gradient.double().cpu(), allowed
        self._shown_before, self._length_before = 0.0, 0.0
        self.apart, self.is_right, self.may_be_wrong = math.inf, False, True

    def judge(self, step: Tensor, forth: float, back: float, rounding: float) -> None:
        """Look at one more step, shorter than those before.

        Args:
            step: the step.
            forth, back: by how much the sum of logits rises along the step, and from the step in the other direction.
            rounding: how much of that may be rounding.
        """
        moved = step.double().cpu()
        expected, length = float((self._gradient * moved).sum()), float(moved.norm())
        steepest, shown = float(self._gradient.norm()) * length, ((forth + back) / 2, forth, back)
        error = min((abs(each - expected) for each in shown), default=math.inf)
        error = error if math.isfinite(error) else math.inf
        if not steepest:
            self._judge_none(max(map(abs, shown)), length, rounding)
            return
        self.apart = error / steepest
        self.is_right = self.apart <= self._allowed
        self.may_be_wrong = not error <= self._allowed * steepest + rounding

    def _judge_none(self, shown: float, length: float, rounding: float) -> None:
        """A gradient of 0 is right if nothing changes, or if less does than a longer step promised, as at a kink."""
        promised = self._shown_before * length / self._length_before if self._length_before else 0.0
        is_lost = shown <= rounding
        if is_lost and self._length_before and promised <= rounding:
            return  # too short to show what the longer step has shown
        self.is_right, self.may_be_wrong, self.apart = is_lost, not is_lost, 0.0 if is_lost else math.inf
        self._shown_before, self._length_before = shown, length


def _step(value: Tensor, slope: Tensor, share: float, seed: int) -> Tensor:
    chance = random_normal(value.shape, seed).to(value)
    along = slope / slope.norm().clamp(min=torch.finfo(slope.dtype).tiny)
    # A single number has two directions, which may cancel out.
    direction = chance / chance.norm() + (along if value.numel() > 1 else 0.0)
    return direction / direction.norm() * value.norm() * share


def _sums(
    model: Transformer, tokens: Tensor, keys: Sequence[PlaceAndLayer], steps: dict[PlaceAndLayer, Tensor]
) -> tuple[list[float], float]:
    """The sum of logits after each step forth and each back, in turn, and without one; and how exact they are."""
    moved = [
        model.intervention(*key, _moved(2 * row, steps[key]))  # one row forth, the next back
        for row, key in enumerate(keys)
    ]
    with torch.no_grad():
        logits = model(tokens.expand(2 * len(keys) + 1, -1), hooks=moved)
    assert logits is not None
    # The terms of the sum have random signs, so their errors add up as their squares do.
    rounding = _ROUNDINGS * torch.finfo(model.dtype).eps * float(logits[-1, -1].double().norm())
    return sum_of_logits(logits, _SEED).tolist(), rounding


def _moved(row: int, step: Tensor) -> Callable[[Tensor], Tensor]:
    def moved(tensor: Tensor) -> Tensor:
        tensor[row] += step
        tensor[row + 1] -= step
        return tensor

    return moved
