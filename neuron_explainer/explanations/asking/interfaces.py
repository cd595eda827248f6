"""What writes explanations, what simulates activations, and what scores: the interfaces between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from neuron_explainer.explanations.asking.explanation import Explanation
    from neuron_explainer.explanations.asking.subject import Subject
    from neuron_explainer.explanations.scoring.score import ExplanationScore


@runtime_checkable
class Simulator(Protocol):
    """Predicts a component's activations."""

    def simulate(self, tokens: Sequence[str]) -> list[float]:
        """One prediction for each token, in a unit of the simulator's own; NaN where it makes none.

        Args:
            tokens: a text, token by token.
        """
        ...


@runtime_checkable
class Explainer(Protocol):
    """Writes explanations."""

    @property
    def name(self) -> str:
        """What it is called in tables and files."""
        ...

    def explain(self, subject: Subject, n: int) -> list[Explanation]:
        """At most n explanations, the best first, written from `subject.examples.train` (and `.random`) alone.

        Raises:
            InvalidRequestError: the subject's examples do not do for it.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """Says how good explanations are."""

    @property
    def name(self) -> str:
        """What it is called in tables and files."""
        ...

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        """The score on examples that the explanation was not written from.

        Raises:
            InvalidRequestError: the explanation or the subject's examples do not do for it.
        """
        ...
