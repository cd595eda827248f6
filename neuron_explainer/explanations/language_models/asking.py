"""Questions to a language model whose answers have a form, each asked once more where the answer does not have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from neuron_explainer.errors import AnswerFormatError, InvalidRequestError, shown
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatClient, ChatRequest

T = TypeVar("T")
_MOST_SHOWN = 2_000
_MOST_TOKENS = 100_000
MOST_SEED_ASKED = 2**32 - 1
"""The largest seed of the first of several samples."""


def read_answers(
    client: ChatClient,
    requests: Sequence[ChatRequest],
    read: Sequence[Callable[[ChatAnswer], T]],
    progress: bool | None,
) -> list[T | AnswerFormatError]:
    """The answers to some questions, as what they say.

    All questions are asked at once. Those whose answers do not have the form are asked once more, with what was wrong;
    an answer that was cut off gets room for twice as many tokens then.

    Args:
        client: what is asked.
        requests: the questions.
        read: for each question, what reads its answer; it raises AnswerFormatError.
        progress: whether there is a bar.

    Returns:
        What was read, in the order of the questions; the error where the second answer did not have the form either.

    Raises:
        InvalidRequestError: the client gives more or fewer answers than there are questions.
    """
    answers = _asked(client, requests, progress)
    found: list[T | AnswerFormatError] = [_read(each, answer) for each, answer in zip(read, answers, strict=True)]
    wrong = [(place, each) for place, each in enumerate(found) if isinstance(each, AnswerFormatError)]
    if wrong:
        again = [_once_more(requests[place], answers[place], error) for place, error in wrong]
        for (place, _), answer in zip(wrong, _asked(client, again, progress), strict=True):
            found[place] = _read(read[place], answer)
    return found


def checked_client(client: object) -> ChatClient:
    """The client, if it is one.

    Raises:
        InvalidRequestError: it is something else.
    """
    if not isinstance(client, ChatClient) or isinstance(client, type):
        raise InvalidRequestError(
            f"client is {shown(client)}. Give a language model to ask, such as OpenAICompatibleClient(…) or "
            "LocalClient(model): an object with a name, and a method ask."
        )
    return client


def _asked(client: ChatClient, requests: Sequence[ChatRequest], progress: bool | None) -> list[ChatAnswer]:
    answers = client.ask(requests, progress=progress)
    if len(answers) != len(requests):
        raise InvalidRequestError(f"{client.name} gave {len(answers)} answers to {len(requests)} questions.")
    return answers


def _read(read: Callable[[ChatAnswer], T], answer: ChatAnswer) -> T | AnswerFormatError:
    try:
        return read(answer)
    except AnswerFormatError as error:
        return error


def _once_more(request: ChatRequest, answer: ChatAnswer, error: AnswerFormatError) -> ChatRequest:
    complaint = (
        f"That answer cannot be used: {error.problem}. Expected: {error.expected}. Answer again, with the JSON alone, "
        "in the form that was asked for."
    )
    messages = (*request.messages, ("assistant", answer.text[:_MOST_SHOWN] or "…"), ("user", complaint))
    most = request.max_tokens if answer.is_whole else min(2 * request.max_tokens, max(request.max_tokens, _MOST_TOKENS))
    return replace(request, messages=messages, max_tokens=most)
