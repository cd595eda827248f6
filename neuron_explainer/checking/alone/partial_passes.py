"""Passes that compute a part: one place alone, some logits, the upper layers. Each gives what the whole pass has."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neuron_explainer.checking.alone.judging import of_passes
from neuron_explainer.checking.comparison import (
    LOGITS_KEY,
    OF_LAYER,
    PlaceDifference,
    difference_at,
    finding_of,
    of_beginning,
)
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.checking.passes import Recorded
from neuron_explainer.checking.probes import N_SHORT, Probe
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.block import residual_before
from neuron_explainer.models.layers.token_checks import int64_on_cpu
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


def partial_passes(model: Transformer, probe: Probe, recorded: Recorded, *, everywhere: bool) -> Iterator[Finding]:
    """Whether a pass gives the same where it records one place alone, or computes some logits or none.

    Args:
        model: the model.
        probe: the prompts, of which a beginning is used.
        recorded: all places of a pass.
        everywhere: at every place of the middle layer alone, and with the final norm; else at one.
    """
    name, tokens = "parts of a pass", probe.tokens[:, :N_SHORT]
    n = tokens.shape[1]
    if model.config.layers_rotated_as_long(probe.tokens.shape[1]):
        yield not_checked(name, "The model rotates keys in another way in prompts of the usual length (longrope).")
        return
    layer, final = model.config.n_layers // 2, (_PLACE.RESID_POST_FINAL_LAYER_NORM, None)
    real, compared = probe.real[:, :n], list[PlaceDifference]()

    def compare(key: PlaceAndLayer, found: Tensor | None, positions: list[int]) -> None:
        assert found is not None
        rows = int64_on_cpu(range(len(tokens)))[:, None]
        at = rows, int64_on_cpu([positions] * len(tokens))
        whole = of_beginning(key, recorded[key], n)
        expected = whole[tuple(each.to(whole.device) for each in at)]
        compared.extend(of_passes(model, [difference_at(key, found, expected, real[at], positions[0])], real[at]))

    with torch.no_grad():
        for key in [(place, layer) for place in (OF_LAYER if everywhere else (_PLACE.MLP_POST_ACT,))]:
            alone = model.recording([key])
            model(tokens, logits_at=None, hooks=[alone])
            compare(key, alone[key], list(range(n)))
        if everywhere:
            last = model.recording([final])
            compare(LOGITS_KEY, model(tokens, logits_at="last", hooks=[last]), [n - 1])
            compare(final, last[final], list(range(n)))
        middle = torch.full((len(tokens),), n // 2, dtype=torch.int64, device="cpu")
        compare(LOGITS_KEY, model(tokens, logits_at=middle), [n // 2])
    yield finding_of(
        name,
        compared,
        allowed_in(model.dtype),
        "Passes that record one place alone, or compute some logits or none, give the same.",
        "A pass that records one place alone, or computes some logits or none, differs in its",
    )


def upper_layers(model: Transformer, probe: Probe, recorded: Recorded, *, everywhere: bool) -> Iterator[Finding]:
    """Whether upper layers, over what the lower ones gave, give the logits of the whole pass.

    Args:
        model: the model.
        probe: the prompts.
        recorded: all places of a pass.
        everywhere: from three layers on, over the beginnings of all prompts, and with an intervention; else from one.
    """
    n_layers, compared = model.config.n_layers, list[PlaceDifference]()
    layer = 3 * n_layers // 4
    with torch.no_grad():
        found = model.forward_from(layer, recorded[residual_before(layer)][:1])
        compared += _of_logits(model, found, recorded[LOGITS_KEY][:1], probe.real[:1])
        n = min(N_SHORT, probe.tokens.shape[1])
        if everywhere and not model.config.layers_rotated_as_long(probe.tokens.shape[1]):
            for number in (0, layer, n_layers):
                found = model.forward_from(number, recorded[residual_before(number)][:, :n])
                compared += _of_logits(model, found, recorded[LOGITS_KEY][:, :n], probe.real[:, :n])
            halved = model.intervention(_PLACE.RESID_DELTA_MLP, n_layers - 1, lambda tensor: tensor / 2)
            found = model.forward_from(layer, recorded[residual_before(layer)][:, :n], hooks=[halved])
            expected = model(probe.tokens[:, :n], hooks=[halved])
            compared += _of_logits(model, found, expected, probe.real[:, :n])
    yield finding_of(
        "upper layers alone",
        compared,
        allowed_in(model.dtype),
        "Upper layers, over the residual stream that the first of them reads, give the logits of the whole pass.",
        "Upper layers, over the residual stream that the first of them reads, give different",
    )


def _of_logits(
    model: Transformer, found: Tensor | None, expected: Tensor | None, real: Tensor
) -> list[PlaceDifference]:
    assert found is not None
    assert expected is not None
    return of_passes(model, [difference_at(LOGITS_KEY, found, expected, real)], real)
