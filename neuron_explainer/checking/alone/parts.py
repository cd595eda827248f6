"""The checks of a model by itself, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from neuron_explainer.checking.alone.gradients import gradients
from neuron_explainer.checking.alone.intervened import on_gradients, with_a_cache
from neuron_explainer.checking.alone.interventions import interventions
from neuron_explainer.checking.alone.neighbours import nearby_configs
from neuron_explainer.checking.alone.partial_passes import partial_passes, upper_layers
from neuron_explainer.checking.alone.patterns import attention_rows
from neuron_explainer.checking.alone.repeated import cached, in_threads, padding, repeatable
from neuron_explainer.checking.alone.together import interventions_together
from neuron_explainer.checking.alone.token_rules import token_rules
from neuron_explainer.checking.alone.traps import known_traps
from neuron_explainer.checking.alone.weights import sound_weights
from neuron_explainer.checking.alone.windows import long_windows, not_reached
from neuron_explainer.checking.findings import Finding, Part, failed, not_checked, passed
from neuron_explainer.checking.formulas.far_positions import far_positions
from neuron_explainer.checking.formulas.recomputed import recomputed
from neuron_explainer.checking.passes import Recorded, all_places, first_not_finite
from neuron_explainer.checking.probes import N_LONG, Probe, random_probe
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer

_N_TIMES = 10
"""How often a thorough check repeats a pass."""

OfPass = Callable[[Transformer, Probe, Recorded], Iterable[Finding]]


@dataclass
class Alone:
    """The checks of a model by itself.

    Attributes:
        model: the model.
        context: it with its tokenizer; None if a `Transformer` was given.
        probe: the prompts.
        thorough: whether every place of every layer is looked at, and longer prompts.
        seed: of the longer prompts.
        has_reference: whether the model is compared with a reference, too.
    """

    model: Transformer
    context: StandardModelContext | None
    probe: Probe
    thorough: bool
    seed: int
    has_reference: bool
    _recorded: Recorded = field(default_factory=dict)
    _why_none: str = "it raised an error"

    def parts(self) -> list[Part]:
        """What is checked, in order."""
        model, context, thorough = self.model, self.context, self.thorough
        of_pass: list[tuple[str, OfPass]] = [
            ("formulas", partial(recomputed, everywhere=thorough)),
            ("the same pass again", partial(repeatable, n_times=_N_TIMES if thorough else 2)),
            ("rows of attention", attention_rows),
            *([("sliding windows", lambda m, probe, _: long_windows(m, probe, self.seed))] if thorough else []),
            ("padding against none", padding),
            ("cache against none", partial(cached, everywhere=thorough)),
            ("parts of a pass", partial(partial_passes, everywhere=thorough)),
            ("upper layers alone", partial(upper_layers, everywhere=thorough)),
            *([("a longer prompt", lambda *_: self._of_longer_prompt())] if thorough else []),
            ("interventions", lambda m, probe, _: interventions(m, probe, everywhere=thorough)),
            ("interventions with a cache", lambda m, probe, _: with_a_cache(m, probe, everywhere=thorough)),
            *([("interventions together", lambda m, probe, _: interventions_together(m, probe))] if thorough else []),
            ("interventions on gradients", lambda m, probe, _: on_gradients(m, probe, everywhere=thorough)),
            ("gradients", lambda m, probe, _: gradients(m, probe, everywhere=thorough)),
            ("threads", in_threads),
            *([("nearby configs", lambda *_: nearby_configs(context))] if thorough else []),
        ]
        return [
            ("known faults of versions", lambda: known_traps(model.device, model.dtype)),
            ("weights", lambda: sound_weights(model)),
            ("tokens", lambda: token_rules(context)),
            ("a pass with recordings", self._record),
            *((name, partial(self._look, name, run)) for name, run in of_pass),
            ("what the prompts do not reach", self._not_reached),
        ]

    def _record(self) -> Iterator[Finding]:
        name = "a pass with recordings"
        recorded = all_places(self.model, self.probe)
        where = first_not_finite(self.model, recorded, self.probe.real)
        if where is None:
            self._recorded = recorded
            yield passed(name, "All numbers are finite, but for those of hidden tokens in attention.")
        else:
            self._why_none = f"its numbers are not finite, first at {where}"
            yield failed(name, f"Numbers are not finite, first at {where}.", where=where)

    def _look(self, name: str, run: OfPass) -> Iterator[Finding]:
        """A check of a model whose pass is finite; most look at that pass."""
        if self._recorded:
            yield from run(self.model, self.probe, self._recorded)
        else:
            yield not_checked(name, f"There is no pass to look at: {self._why_none}.")

    def _of_longer_prompt(self) -> Iterator[Finding]:
        """What is wrong beyond the tokens of the usual prompts alone."""
        model, probe = self.model, random_probe(self.model, N_LONG, self.seed).alone(0)
        n = probe.tokens.shape[1]
        if n <= self.probe.tokens.shape[1]:
            yield not_checked("a longer prompt", f"The model reads {n} tokens, as many as the usual prompts have.")
            return
        recorded = all_places(model, probe)
        for run in (recomputed, attention_rows, cached):
            for each in run(model, probe, recorded):
                yield replace(each, check=f"{each.check}, {n} tokens")
        yield from far_positions(model, n, self.seed)

    def _not_reached(self) -> Iterator[Finding]:
        n_tokens = N_LONG if self.thorough else self.probe.tokens.shape[1]
        n_tokens = min(n_tokens, self.model.config.max_context_length)
        return not_reached(self.model, n_tokens, thorough=self.thorough, has_reference=self.has_reference)
