"""Interventions together: several at a place, one in all layers, and one that recordings do not see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from neuron_explainer.checking.alone.judging import of_passes
from neuron_explainer.checking.comparison import LOGITS_KEY, PlaceDifference, difference_at, finding_of
from neuron_explainer.checking.findings import Finding, failed
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.hooks.contexts import Hook
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_N_TOKENS = 3


def interventions_together(model: Transformer, probe: Probe) -> Iterator[Finding]:
    """Whether interventions are applied in order, in each of their layers, and behind recordings where that is asked.

    Args:
        model: the model.
        probe: prompts, of which a beginning is used. The first of two rows has no intervention.
    """
    name, layers = "interventions together", list(range(model.config.n_layers))
    key = (_PLACE.RESID_DELTA_ATTN, len(layers) // 2)
    tokens = probe.alone(0).tokens[:, :_N_TOKENS].expand(2, -1)
    real = torch.ones((1, tokens.shape[1]), dtype=torch.bool, device="cpu")

    def run(hooks: Sequence[Hook]) -> tuple[Tensor, Tensor]:
        """What is recorded at the place, and the logits."""
        recording = model.recording([key])
        with torch.no_grad():
            logits = model(tokens, hooks=[*hooks, recording])
        assert logits is not None
        return recording[key], logits

    def compare(found: Tensor, expected: Tensor) -> PlaceDifference:
        return difference_at(key, found, expected, real)

    doubled, halved_more = on_second_row(lambda own: 2 * own), on_second_row(lambda own: own / 4)
    added = on_second_row(lambda own: own + 1)
    seen, _ = run([model.intervention(*key, doubled), model.intervention(*key, added)])
    compared = [compare(seen[1:], 2 * seen[:1] + 1)]
    at_once = run([model.intervention(key[0], layers, halved_more)])
    one_each = run([model.intervention(key[0], layer, halved_more) for layer in layers])
    compared.append(compare(at_once[0][1:], one_each[0][1:]))
    compared.append(difference_at(LOGITS_KEY, at_once[1][1:], one_each[1][1:], real))
    hidden, logits = run([model.intervention(*key, halved_more, after_recording=True)])
    compared.append(compare(hidden[1:], hidden[:1]))
    if bool(hidden.any()) and torch.equal(logits[0], logits[1]):
        yield failed(name, "An intervention that recordings do not see has no effect.")
        return
    yield finding_of(
        name,
        of_passes(model, compared, real),
        allowed_in(model.dtype),
        "Interventions are applied in order, in each of their layers, and behind recordings where that is asked.",
        "Two interventions at a place, one in all layers, or one that recordings do not see gives something else at",
    )


def on_second_row(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """An intervention on the second one of two rows."""
    return lambda tensor: torch.cat((tensor[:1], change(tensor[1:])))
