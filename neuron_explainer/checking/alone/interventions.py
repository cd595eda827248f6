"""Interventions: each changes what is after it, and nothing else: no other prompt, earlier token or earlier place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from neuron_explainer.checking.alone.judging import of_place
from neuron_explainer.checking.comparison import difference_at, in_order, one_layer_each
from neuron_explainer.checking.findings import Finding, Where, failed, passed
from neuron_explainer.checking.formulas.layer_formulas import certain_tokens, expected_in_layer
from neuron_explainer.checking.formulas.recomputed import ALLOWED
from neuron_explainer.checking.probes import Probe, random_normal
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.hooks.recording import PlaceAndLayer, Recording
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_ROWS_AT_ONCE = 24
_MOST_FAULTS = 3
_SHARE = 0.5
"""How large a change is, as a share of what is there."""
_SHARE_LOST = 0.1
"""How much of a change a recording may lack: what other rows of the batch do to the rounding of this one."""
_OF_LOGITS = frozenset({_PLACE.ATTN_QUERY, _PLACE.ATTN_KEY, _PLACE.ATTN_QK_LOGITS})


def interventions(model: Transformer, probe: Probe, *, everywhere: bool) -> Iterator[Finding]:
    """Whether an intervention at a place does what it should.

    Each row of a batch is the same prompt with another intervention, at its middle token, and the first has none. So a
    row must be as the first: at all other tokens before, at all places before, and in all of it if it is another's.

    Args:
        model: the model.
        probe: prompts, of which a beginning is used.
        everywhere: at every place of every layer; else at every place of one layer each.
    """
    keys = in_order(model.config.n_layers)
    chosen = keys if everywhere else one_layer_each(keys, model.config.n_layers)
    layers = {layer for _, layer in chosen}
    keys = [key for key in keys if key[1] in layers or key[0] is _PLACE.RESID_POST_MLP]  # what others do shows there
    tokens = probe.alone(0).tokens[:, : 3 if everywhere else 2]
    faults: list[Finding] = []
    for start in range(0, len(chosen), _ROWS_AT_ONCE):
        faults += _of_rows(model, tokens, chosen[start : start + _ROWS_AT_ONCE], keys)
    yield from faults[:_MOST_FAULTS]
    if len(faults) > _MOST_FAULTS:
        yield failed("interventions", f"And {len(faults) - _MOST_FAULTS} more.")
    if not faults:
        where = "of every layer" if everywhere else "in one layer each"
        yield passed(
            "interventions",
            f"A change at one token of each of the places, {where}, changes the logits, and nothing that comes before.",
        )


def _of_rows(
    model: Transformer, tokens: Tensor, chosen: Sequence[PlaceAndLayer], keys: Sequence[PlaceAndLayer]
) -> list[Finding]:
    at = tokens.shape[1] // 2
    changes = [_Change(row, at) for row in range(1, len(chosen) + 1)]
    hooks = [model.intervention(place, layer, change) for (place, layer), change in zip(chosen, changes, strict=True)]
    recording = model.recording(keys)
    with torch.no_grad():
        model(tokens.expand(len(chosen) + 2, -1), hooks=[recording, *hooks])  # the first row and the last stay
    real = torch.ones((len(chosen) + 2, tokens.shape[1]), dtype=torch.bool, device="cpu")
    apart = {key: difference_at(key, recording[key], recording[key][:1], real).by_token for key in keys}
    order = {key: number for number, key in enumerate(keys)}
    allowed, noise = allowed_in(model.dtype), float(apart[_PLACE.LOGITS, None][-1, at:].max())
    faults = []
    for change, key, hook in zip(changes, chosen, hooks, strict=True):
        where = Where(*key, at)
        early = _first_early(apart, order, key, change.row, at, allowed)
        if not hook.n_fired:
            faults.append(failed("interventions", f"One at {where} was never applied.", where=where))
        elif early is not None:
            said = f"One at {where} changes {early}, which comes before it."
            faults.append(failed("interventions", said, where=early))
        elif not change.is_in(recording[key]):
            said = f"What one adds at {where} is not what the recording shows there."
            faults.append(failed("interventions", said, where=where))
        elif not (_has_effect(model, key, apart, change.row, at) or _is_lost(model, key, recording, apart, change.row)):
            faults.append(failed("interventions", f"One at {where} has no effect on the logits.", where=where))
    if not noise <= allowed:
        faults.append(failed("interventions", "They change another prompt of the same batch."))
    return faults


class _Change:
    """Adds random numbers at one token of one row.

    Args:
        row, token: where.
    """

    def __init__(self, row: int, token: int) -> None:
        self.row, self.token = row, token
        self._added = torch.zeros(1, dtype=torch.float64, device="cpu")

    def __call__(self, tensor: Tensor) -> Tensor:
        own = tensor[self.row, self.token]
        chance = random_normal(own.shape, self.row).to(own)
        finite = torch.where(own.isfinite(), own, 0.0)
        if own.shape == (1,):  # a scale, which stays positive
            chance = torch.ones_like(own)
        added = _SHARE * finite.float().square().mean().sqrt().clamp(min=1e-6).to(own.dtype) * chance
        self._added = added.detach().cpu().double()
        tensor[self.row, self.token] = own + added
        return tensor

    def is_in(self, recorded: Tensor) -> bool:
        """Whether a recording shows what was added, and that alone, to rounding; the first row has none."""
        ours, plain = (recorded[row, self.token].cpu().double() for row in (self.row, 0))
        expected = plain + self._added
        rounding = 4 * torch.finfo(recorded.dtype).eps * (plain.abs() + self._added.abs())
        apart = torch.where((ours == expected) | ~plain.isfinite(), 0.0, (ours - expected).abs() - rounding)
        return bool(apart.max() <= _SHARE_LOST * self._added.abs().max())


def _has_effect(
    model: Transformer, changed: PlaceAndLayer, apart: dict[PlaceAndLayer, Tensor], row: int, token: int
) -> bool:
    """Whether a row differs after its change: at the logits, by more than the last row, which has no change.

    Attention over equal values gives the same whatever its weights are, and 16 bits may round an effect away. So there
    a difference at any later place will do.
    """
    place, layer = changed
    sees_itself_alone = token == 0 or (layer is not None and model.config.sliding_window_by_layer[layer] == 1)
    if sees_itself_alone and place in _OF_LOGITS and not model.config.attention_sinks:
        return True
    after = list(apart)[list(apart).index(changed) + 1 :] or [changed]
    may_be_lost = place in _OF_LOGITS or model.dtype.itemsize == 2
    looked_at = after if may_be_lost else after[-1:]
    effects = [apart[key][:, token:].amax(1) for key in looked_at]
    return any(float(each[row]) > 3 * float(each[-1]) for each in effects)


def _is_lost(
    model: Transformer,
    changed: PlaceAndLayer,
    recording: Recording,
    apart: dict[PlaceAndLayer, Tensor],
    row: int,
) -> bool:
    """Whether the rest of a layer makes nothing of a change by its formulas, as where weights or neurons are all 0."""
    _, layer = changed
    order = [key for key in in_order(model.config.n_layers) if key[1] == layer]
    after = order[order.index(changed) + 1 :]
    if model.is_offloaded or layer is None or not after:
        return False
    at_end = apart[after[-1]].amax(1)
    if float(at_end[row]) > 3 * float(at_end[-1]):  # it is lost further up
        return False
    found = {key: recording[key][row : row + 1] for key in recording}
    real = torch.ones(found[changed].shape[:2], dtype=torch.bool, device="cpu")
    expected = expected_in_layer(model, layer, found, real.shape[1])
    for key in after:
        certain = certain_tokens(model, key, found)
        judged = real if certain is None else real & certain
        if not of_place(model, difference_at(key, found[key], expected[key], judged)).relative <= ALLOWED[model.dtype]:
            return False
    return True


def _first_early(
    apart: dict[PlaceAndLayer, Tensor],
    order: dict[PlaceAndLayer, int],
    changed: PlaceAndLayer,
    row: int,
    token: int,
    allowed: float,
) -> Where | None:
    """The first place at which a row differs from the first one, though nothing has been changed there."""
    for key, number in order.items():
        until = apart[key].shape[1] if number < order[changed] else token
        wrong = torch.nonzero(apart[key][row, :until] > allowed)
        if len(wrong):
            return Where(*key, int(wrong[0]))
    return None
