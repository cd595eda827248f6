"""What was asked, as a file says it: enough for tables, not for passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from neuron_explainer.attribution.inquiry import AskedPass, Inquiry
from neuron_explainer.attribution.question.answers import Answer
from neuron_explainer.errors import MisconfiguredError
from neuron_explainer.models.transformer import Transformer


@dataclass(frozen=True, eq=False)
class SavedInquiry(Inquiry):
    """An inquiry that was read from a file. Nothing is run for it.

    Attributes:
        asked: what was asked, as JSON values.
        in_words: the title.
        passes, is_linear, answers, hints: as those of the inquiry that was saved.
        prompt_ids: the prompt of a question that can be asked again, with a model; None of others.
    """

    asked: dict[str, Any]
    in_words: str
    passes: Sequence[AskedPass]
    is_linear: bool
    answers: Sequence[Answer]
    hints: tuple[str, ...] = ()
    prompt_ids: list[int] | None = None

    @property
    def request(self) -> dict[str, Any]:
        """What was asked, as JSON values."""
        return self.asked

    @property
    def title(self) -> str:
        """What the number is, in words."""
        return self.in_words

    @property
    def is_trace(self) -> bool:
        """Whether it is a trace."""
        return "trace" in self.asked

    @classmethod
    def joint_objective(cls, model: Transformer, passes: Sequence[tuple[SavedInquiry, int]]) -> NoReturn:
        """Refused.

        Raises:
            MisconfiguredError: always; the message says how to ask again.
        """
        passes[0][0].refuse()

    def refuse(self) -> NoReturn:
        """Refuse to run it.

        Raises:
            MisconfiguredError: always; the message says how to ask again.
        """
        if self.is_trace:
            raise MisconfiguredError(
                "This trace was read from a file, which holds its results alone. Trace again: "
                f"why.trace({str(self.asked['trace'])!r}), why being an answer with its model."
            )
        raise MisconfiguredError(
            "The metric of this answer was a function, which its file does not hold. Ask again with ne.attribute."
        )
