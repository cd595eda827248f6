"""What an answer is an answer to: the passes of a question or of a trace, and what is read in each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.activations.derived_scalars.losses.objective import Objective
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.transformer import Transformer

if TYPE_CHECKING:
    from neuron_explainer.attribution.computing.effects import Effects
    from neuron_explainer.attribution.question.answers import Answer


@dataclass(frozen=True)
class AskedPass:
    """One pass.

    Attributes:
        prompt: its tokens.
        coefficient: what its number is multiplied with in the answer's.
        answer: the text of the answer that it is about; None if one pass answers all.
    """

    prompt: Prompt
    coefficient: float = 1.0
    answer: str | None = None


class Inquiry(ABC):
    """A question about a prompt's logits, or a trace of an activation."""

    passes: Sequence[AskedPass]
    is_linear: bool
    """Whether the number is linear in the residual stream when the scales of norms are held constant."""
    hints: tuple[str, ...] = ()
    answers: Sequence[Answer]
    """Targets, then distractors; none of a trace."""

    @classmethod
    @abstractmethod
    def joint_objective(cls, model: Transformer, passes: Sequence[tuple[Any, int]]) -> Objective:
        """What a batch of passes is about, each given by its inquiry and its number in it."""

    def objective(self, model: Transformer, numbers: Sequence[int]) -> Objective:
        """What some of the own passes, by their numbers, are about."""
        return self.joint_objective(model, [(self, number) for number in numbers])

    def settled(self, model: ModelContext, effects: Sequence[Effects]) -> Inquiry:
        """The same with everything fixed that depended on the pass itself, so that it can be asked again."""
        return self

    @property
    def is_by_answer(self) -> bool:
        """Whether each pass is about an answer of several tokens, or about one that is compared with such."""
        return any(asked.answer is not None for asked in self.passes)

    @property
    @abstractmethod
    def request(self) -> dict[str, Any]:
        """What was asked, as JSON values."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the number is, in words."""

    @property
    def asked_tokens(self) -> dict[int, str]:
        """The tokens that are asked about, the first of each answer, and what each is: "target" or "distractor"."""
        return {answer.token_ids[0]: answer.asked for answer in self.answers}
