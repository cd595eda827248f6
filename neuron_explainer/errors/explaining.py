"""Errors of language models that are asked: endpoints, their answers, and what may be spent."""

from __future__ import annotations

from typing import Any

from neuron_explainer.errors.base import NeuronExplainerError
from neuron_explainer.wording import in_a_sentence, without_steering


class EndpointError(NeuronExplainerError, OSError):
    """An endpoint could not be reached, refused a question, or answered something that is not an answer.

    Attributes:
        location: its address.
        problem: what happened; the server's own message is cut, and without the key.
        status_code: the HTTP status; None if it did not answer with one.
        answers: the answers that had come, in the order of the questions; None where one has not. They are in the
            client's cache, too, if it has one.
    """

    def __init__(self, location: str, problem: str, status_code: int | None = None) -> None:
        self.location = location
        self.problem = problem
        self.status_code = status_code
        self.answers: tuple[Any, ...] = ()
        super().__init__(f"{without_steering(location)}: {problem}")


class AnswerFormatError(NeuronExplainerError, ValueError):
    """A language model's answer does not have the form that it was asked for.

    Attributes:
        problem: what is wrong.
        expected: what was asked for.
        excerpt: the beginning of the answer.
    """

    def __init__(self, problem: str, expected: str, answer: str) -> None:
        self.problem = problem
        self.expected = expected
        self.excerpt = in_a_sentence(answer[:1000])
        begins = f"The answer begins: {self.excerpt!r}." if self.excerpt else "The answer is empty."
        super().__init__(f"The answer does not have the form that was asked for: {problem}. Expected: {expected}. {begins}")


class BudgetExceededError(NeuronExplainerError, RuntimeError):
    """A client has spent what it may spend, and asks nothing more. Answers that came are kept.

    Attributes:
        cap: the argument that is the cap: "max_tokens_total" or "max_cost".
        spent: how many tokens, or how much, is spent.
        limit: how much may be.
        answers: the answers that had come, in the order of the questions; None where one has not. They are in the
            client's cache, too, if it has one.
    """

    def __init__(self, cap: str, spent: float, limit: float, spending: str) -> None:
        self.cap = cap
        self.spent = spent
        self.limit = limit
        self.answers: tuple[Any, ...] = ()
        super().__init__(
            f"{cap} is {limit:,}, and {spent:,} is spent: {spending}. Answers that came are kept. To go on, raise the "
            "cap of the client and make the same call again."
        )
