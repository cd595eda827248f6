"""Answers in JSON to typed values."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.explanations.clients.client import ChatAnswer
from neuron_explainer.wording import in_a_sentence

T = TypeVar("T")


class AnswerFormatError(NeuronExplainerError, ValueError):
    """A language model's answer does not have the form that it was asked for."""

    def __init__(self, problem: str, expected: str, answer: str) -> None:
        self.problem = problem
        self.expected = expected
        self.excerpt = in_a_sentence(answer[:1000])
        super().__init__(f"The answer does not have the form that was asked for: {problem}. Expected: {expected}.")


def parsed(answer: ChatAnswer, type_: type[T]) -> T:
    """An answer as a typed value.

    Raises:
        AnswerFormatError: it is not whole, or not JSON of the type.
    """
    if not answer.is_whole:
        raise AnswerFormatError("it was cut off", "JSON", answer.text)
    try:
        return msgspec.json.decode(answer.text, type=type_)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise AnswerFormatError(str(error), "JSON", answer.text) from None
