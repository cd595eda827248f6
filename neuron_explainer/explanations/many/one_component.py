"""One component of many: explained and scored, with what fails kept in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from neuron_explainer.activations.neuron_ids import NeuronId
from neuron_explainer.activations.scored_explanations import NeuronSimulationResults, ScoredExplanation, Scores
from neuron_explainer.errors import MisconfiguredError, NeuronExplainerError, OutOfSpaceError, StoppedError
from neuron_explainer.explanations.asking.explain import explain
from neuron_explainer.explanations.asking.explanation import Explanation
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


@dataclass(frozen=True)
class Explained:
    """What came of one component.

    Attributes:
        outcome: its explanations with their scores, or errors.
        file: the content of its file of explanations; empty if it has none.
    """

    outcome: Outcome
    file: bytes


@dataclass(frozen=True)
class Explaining:
    """How components are explained.

    Attributes:
        explainer: what writes explanations.
        scorers: what scores them.
        n: how many explanations of each component.
        baselines: whether explanations that say little are scored, too.
    """

    explainer: Explainer
    scorers: Sequence[Scorer]
    n: int
    baselines: bool

    def of(self, given: SubjectGiven, name: str, layer: int, index: int) -> Explained:
        """Explain one component, and score its explanations.

        Args:
            given: the component.
            name: its name.
            layer, index: where it is.

        Raises:
            NeuronExplainerError: one that all components would meet, such as a budget that is used up.
        """
        try:
            return self._explained(subject_of(given), name, NeuronId(layer, index))
        except Exception as error:
            _raise_if_fatal(error)
            return Explained(Outcome(name, layer, index, error=KeptError.of(error)), b"")

    def _explained(self, subject: Subject, name: str, place: NeuronId) -> Explained:
        kept, scored = [], []
        for explanation in explain(subject, self.explainer, self.n):
            scores = [self._scored(explanation, subject, scorer) for scorer in self.scorers]
            texts = as_valid_text(explanation.text), as_valid_text(explanation.explainer)
            kept.append(KeptExplanation(*texts, [each for each, _ in scores]))
            simulated = (found for _, found in scores if found is not None)
            scored.append(next(simulated, ScoredExplanation(explanation.text, Scores(), [])))
        file = explanations_to_json(NeuronSimulationResults(place, scored)) if scored else b""
        return Explained(Outcome(name, place.layer_index, place.neuron_index, kept, file_bytes=len(file)), file)

    def _scored(
        self, explanation: Explanation, subject: Subject, scorer: Scorer
    ) -> tuple[KeptScore, ScoredExplanation | None]:
        """The score by one scorer, or its error; and if it is of a simulation, what files hold of that."""
        try:
            found = score(explanation, subject, scorer, baselines=self.baselines)
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
