"""One component of many: explained and scored, with what fails kept in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from neuron_explainer.activations.neuron_ids import NeuronId
from neuron_explainer.activations.scored_explanations import NeuronSimulationResults, ScoredExplanation, Scores
from neuron_explainer.errors import MisconfiguredError, NeuronExplainerError, OutOfSpaceError, StoppedError
from neuron_explainer.explanations.asking.explain import explain
from neuron_explainer.explanations.asking.explanation import Explanation, Explanations
from neuron_explainer.explanations.asking.interfaces import Explainer, Scorer
from neuron_explainer.explanations.asking.score import score
from neuron_explainer.explanations.asking.subject import Subject, SubjectGiven, subject_of
from neuron_explainer.explanations.many.openai_files import explanations_to_json
from neuron_explainer.explanations.many.outcome import KeptError, KeptExplanation, KeptScore, Outcome
from neuron_explainer.explanations.many.simulated import is_of_simulation, scored_explanation
from neuron_explainer.wording import as_valid_text

FATAL_ERRORS = ("BudgetExceededError", "EndpointError", "MissingPackageError")
"""Errors, by their classes' names, that every other component would meet, too: the work stops at them."""

_OF_ONE_QUESTION = (200, 400, 413, 422)
"""What an endpoint answers with to one question that it does not take, and not to all; 200: without any choice."""

_FATAL = (StoppedError, OutOfSpaceError, MemoryError)

_MOST_KEPT = 64


@dataclass(frozen=True)
class Explained:
    """What came of one component.

    Attributes:
        outcome: its explanations with their scores, or errors.
        file: the content of its file of explanations; empty if it has none.
    """

    outcome: Outcome
    file: bytes


class Explaining:
    """How components are explained. Threads may share it.

    The baseline "another explanation" is that of the next component of the layer, by the same explainer: which one it
    is does not depend on what else is explained. Those of the last components are kept, so that where all components
    are explained in order, each is explained once.

    Args:
        component_at: gives a component by its layer and number.
        next_to: the number of another component of the layer, which lends its explanation as a baseline; None if there
            is no other.
        explainer: what writes explanations.
        scorers: what scores them.
        n: how many explanations of each component.
        baselines: whether explanations that say little are scored, too.
    """

    def __init__(
        self,
        component_at: Callable[[int, int], SubjectGiven],
        next_to: Callable[[int, int], int | None],
        explainer: Explainer,
        scorers: Sequence[Scorer],
        n: int,
        baselines: bool,
    ) -> None:
        self._component_at, self._next_to = component_at, next_to
        self._explainer, self._scorers, self._n, self._baselines = explainer, scorers, n, baselines
        self._written = lru_cache(_MOST_KEPT)(self._write)

    def of(self, name: str, layer: int, index: int) -> Explained:
        """Explain one component, and score its explanations.

        Args:
            name: its name.
            layer, index: where it is.

        Raises:
            NeuronExplainerError: one that all components would meet, such as a budget that is used up.
        """
        try:
            return self._explained(name, NeuronId(layer, index))
        except Exception as error:
            _raise_if_fatal(error)
            return Explained(Outcome(name, layer, index, error=KeptError.of(error)), b"")

    def _explained(self, name: str, place: NeuronId) -> Explained:
        kept, scored = [], []
        subject, explanations = self._written(place.layer_index, place.neuron_index)
        others = self._others(place) if self._scorers and self._baselines and explanations else []
        for explanation in explanations:
            scores = [self._scored(explanation, subject, scorer, others) for scorer in self._scorers]
            texts = as_valid_text(explanation.text), as_valid_text(explanation.explainer)
            kept.append(KeptExplanation(*texts, [each for each, _ in scores]))
            simulated = (found for _, found in scores if found is not None)
            scored.append(next(simulated, ScoredExplanation(explanation.text, Scores(), [])))
        file = explanations_to_json(NeuronSimulationResults(place, scored)) if scored else b""
        return Explained(Outcome(name, place.layer_index, place.neuron_index, kept, file_bytes=len(file)), file)

    def _write(self, layer: int, index: int) -> tuple[Subject, Explanations]:
        subject = subject_of(self._component_at(layer, index))
        return subject, explain(subject, self._explainer, self._n)

    def _others(self, place: NeuronId) -> list[Explanation]:
        """The explanation of the next component of the layer; none if that cannot be explained."""
        index = self._next_to(place.layer_index, place.neuron_index)
        if index is None:
            return []
        try:
            _, explanations = self._written(place.layer_index, index)
        except Exception as error:
            _raise_if_fatal(error)
            return []
        return list(explanations[:1])

    def _scored(
        self, explanation: Explanation, subject: Subject, scorer: Scorer, others: Sequence[Explanation]
    ) -> tuple[KeptScore, ScoredExplanation | None]:
        """The score by one scorer, or its error; and if it is of a simulation, what files hold of that."""
        try:
            found = score(explanation, subject, scorer, others=others, baselines=self._baselines)
            kept = msgspec.structs.replace(KeptScore.of(found), scorer=as_valid_text(scorer.name))
            return kept, scored_explanation(found) if is_of_simulation(found.judgements) else None
        except Exception as error:
            _raise_if_fatal(error)
            return KeptScore(as_valid_text(scorer.name), error=KeptError.of(error)), None


def _raise_if_fatal(error: Exception) -> None:
    """Raise an error again that is not one component's own."""
    if isinstance(error, _FATAL) or is_fatal(error):
        raise error


def is_fatal(error: Exception) -> bool:
    """Whether an error is of a class, or of one made from it, that stops the work on all components."""
    if type(error) is MisconfiguredError:  # such as a key that is not in the environment; its subclasses are others
        return True
    if not isinstance(error, NeuronExplainerError) or getattr(error, "status_code", None) in _OF_ONE_QUESTION:
        return False
    return any(each.__name__ in FATAL_ERRORS for each in type(error).__mro__)
