"""A pair of prompts that differ in what decides the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.vocabulary.checks import checked_text

AnswerOfPair: TypeAlias = str | tuple[str, ...]
"""A token's text, or several, which are alternatives."""

MOST_PAIRS = 10_000
"""Of one object or file."""
MOST_CHARACTERS = 100_000
"""Of a prompt."""
MOST_ALTERNATIVES = 1000
"""Of an answer."""


@dataclass(frozen=True)
class PromptPair:
    """Two prompts that differ in what decides the answer, and the answers that tell them apart.

    Attributes:
        clean: the prompt whose answer is the target.
        corrupted: the prompt whose answer is another.
        target: the clean prompt's answer, with its leading space; several are alternatives, in a tuple (a list is
            taken, too).
        distractor: what the target is compared with, in the same forms; mostly the corrupted prompt's answer.

    Raises:
        InvalidRequestError: one of them is empty, is not a text, or is too long; or the two prompts, or the answers,
            are the same.

    >>> pair = PromptPair("The son of the king", "The sons of the king", " is", " are")
    >>> pair.target
    ' is'
    """

    clean: str
    corrupted: str
    target: AnswerOfPair
    distractor: AnswerOfPair

    def __post_init__(self) -> None:
        for field in ("clean", "corrupted"):
            object.__setattr__(self, field, _checked_text(field, getattr(self, field)))
        for field in ("target", "distractor"):
            object.__setattr__(self, field, _checked_answer(field, getattr(self, field)))
        if self.clean == self.corrupted:
            raise InvalidRequestError(f"clean and corrupted are both {shown(self.clean)}. Give prompts that differ.")
        if self.target == self.distractor:
            raise InvalidRequestError(f"target and distractor are both {shown(self.target)}. Give answers that differ.")


def _checked_answer(field: str, given: object) -> AnswerOfPair:
    if isinstance(given, str) or not isinstance(given, Sequence):
        return _checked_text(field, given)
    several = tuple(_checked_text(f"{field}[{number}]", each) for number, each in enumerate(given[:MOST_ALTERNATIVES]))
    if not several or len(given) > MOST_ALTERNATIVES:
        raise InvalidRequestError(f"{field} has {len(given):,} alternatives. Give 1 to {MOST_ALTERNATIVES:,}.")
    return several[0] if len(several) == 1 else several


def _checked_text(field: str, given: object) -> str:
    text = checked_text(field, given)
    if not 0 < len(text) <= MOST_CHARACTERS:
        raise InvalidRequestError(f"{field} has {len(text):,} characters. Give 1 to {MOST_CHARACTERS:,}.")
    return text


def alternatives_of(answer: AnswerOfPair) -> tuple[str, ...]:
    """The texts of an answer, one or more.

    >>> alternatives_of(" is"), alternatives_of((" 1", " 2"))
    ((' is',), (' 1', ' 2'))
    """
    return (answer,) if isinstance(answer, str) else answer
