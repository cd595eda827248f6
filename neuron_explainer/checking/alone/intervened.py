"""Interventions in other passes: at late tokens, with a cache, and on gradients."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from neuron_explainer.checking.alone.judging import of_passes
from neuron_explainer.checking.alone.together import on_second_row
from neuron_explainer.checking.comparison import LOGITS_KEY, difference_at, finding_of
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.checking.logit_sums import sum_of_logits
from neuron_explainer.checking.probes import Probe, random_normal
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.hooks.applied_at import AppliedAt
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_N_TOKENS = 6
_N_FOR_GRADIENTS = 3


def with_a_cache(model: Transformer, probe: Probe, *, everywhere: bool) -> Iterator[Finding]:
    """Whether an intervention at every token does the same in a prompt that is read in parts, with a cache.

    The first row of the batch has none, so that what is added to the second one can be seen.

    Args:
        model: the model.
        probe: prompts, of which a beginning is used.
        everywhere: in three parts, with keys and values replaced by themselves in the second one; else in two.
    """
    layer = model.config.n_layers // 2
    name, key = "interventions with a cache", (_PLACE.RESID_POST_ATTN, layer)
    kept = [(_PLACE.ATTN_KEY, layer), (_PLACE.ATTN_VALUE, layer)]
    tokens = probe.alone(0).tokens[:, :_N_TOKENS].expand(2, -1)
    n, added = tokens.shape[1], _AddedByPosition()
    recording, hook = model.recording([key, LOGITS_KEY, *kept]), model.intervention(*key, added)
    with torch.no_grad():
        model(tokens, hooks=[hook, recording])
    whole = {each: recording[each] for each in (key, LOGITS_KEY, *kept)}
    real = torch.ones((1, n), dtype=torch.bool, device="cpu")
    expected = whole[key][:1] + added.numbers
    compared = [difference_at(key, whole[key][1:], expected, real)]
    if n > 1 and not model.config.layers_rotated_as_long(n):
        cache = KeyValueCache()
        for start, end in pairwise((0, *([n // 3] if everywhere and n > 3 else []), n - 1, n)):
            # An intervention in one part alone makes the cache keep keys and values of each head from there on.
            is_recorded, tapped = end == n - 1, model.recording(kept)
            left_as_they_are = [model.intervention(*each, torch.clone) for each in kept]
            with torch.no_grad():
                hooks = [hook, tapped, *left_as_they_are] if is_recorded else [hook]
                logits = model(tokens[:, start:end], logits_at="last", cache=cache, hooks=hooks)
            assert logits is not None
            for each in kept if is_recorded else ():
                compared.append(
                    difference_at(each, tapped[each][1:], whole[each][1:, start:end], real[:, start:end], start)
                )
            expected = whole[LOGITS_KEY][1:, end - 1 : end]
            compared.append(difference_at(LOGITS_KEY, logits[1:], expected, real[:, :1], first_token=end - 1))
    else:
        yield not_checked(name, f"A prompt of {n} tokens cannot be read in parts here.")
    yield finding_of(
        name,
        [each for one in compared for each in of_passes(model, [one], real[:, : one.by_token.shape[1]])],
        allowed_in(model.dtype),
        "What is added at every token is there, and does the same where the prompt is read in parts.",
        "What is added at every token is not there, or does something else with a cache, first at",
    )


def on_gradients(model: Transformer, probe: Probe, *, everywhere: bool) -> Iterator[Finding]:
    """Whether a gradient that is doubled at the end of a layer is twice as large there and at what comes before.

    Args:
        model: the model.
        probe: prompts, of which a beginning is used; two rows have the same, and one row's gradient is doubled.
        everywhere: in the middle layer, and so in the backward pass of half of the model; else in the last one.
    """
    layer = (model.config.n_layers - 1) // 2 if everywhere else model.config.n_layers - 1
    keys = [(_PLACE.RESID_DELTA_ATTN, layer), (_PLACE.RESID_POST_MLP, layer)]
    tokens = probe.alone(0).tokens[:, :_N_FOR_GRADIENTS].expand(2, -1)
    hook = model.intervention(*keys[1], on_second_row(lambda own: 2 * own), pass_type=PassType.BACKWARD)
    with model.record(keys, gradients=True) as recording:
        recording.backward(sum_of_logits(model(tokens, logits_at="last", hooks=[hook]), 1).sum())
        found = {key: recording.gradient(*key).detach() for key in keys}
    real = torch.ones((1, tokens.shape[1]), dtype=torch.bool, device="cpu")
    compared = [difference_at(key, found[key][1:], 2 * found[key][:1], real) for key in keys]
    yield finding_of(
        "interventions on gradients",
        of_passes(model, compared, real),
        allowed_in(model.dtype),
        "A gradient that is doubled at a place is twice as large there and before.",
        "A gradient that is doubled is not twice as large at",
    )


class _AddedByPosition:
    """Adds random numbers to the second row, at each position the same in every pass.

    Attributes:
        numbers: what is added; (tokens, channels).
    """

    numbers: Tensor

    def __init__(self) -> None:
        self._is_made = False

    def __call__(self, tensor: Tensor, at: AppliedAt) -> Tensor:
        if not self._is_made:
            chance = random_normal(tensor.shape[1:], 2).to(tensor)
            self.numbers = chance * tensor[0].float().square().mean(-1, keepdim=True).sqrt().to(tensor)
            self._is_made = True
        tensor = tensor.clone()
        tensor[1] += self.numbers[at.positions[0]]
        return tensor
