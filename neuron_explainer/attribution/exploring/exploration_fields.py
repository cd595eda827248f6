"""The fields of an `Exploration`, checked: what a file, a page or a person gives becomes plain values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from neuron_explainer.errors import InvalidRequestError, PromptError, shown
from neuron_explainer.models.chats.messages import checked_messages, is_chat, plain_value
from neuron_explainer.vocabulary.checks import checked_flag, checked_text, finite_number, whole_number

PromptAsked = str | tuple[dict[str, Any], ...] | tuple[int, ...]
"""A text, messages, or token ids."""
AnswerAsked = str | tuple[int, ...]
"""A text, or token ids."""

StepT = TypeVar("StepT")
_MOST_STEPS = 200
_NAMED_VALUES = ("mean", "other")


def node(field: str, given: object) -> str:
    """A name, without spaces around it."""
    text = checked_text(field, given).strip()
    if not text:
        raise InvalidRequestError(f"{field} is empty. Give a name, such as 'L23H3'.")
    return text


def value(field: str, given: object) -> float | str:
    """What a node is overwritten with."""
    if isinstance(given, str) and given in _NAMED_VALUES:
        return str(given)
    number = finite_number(given)
    if number is None:
        raise InvalidRequestError(f'{field} is {shown(given)}. Give a number, "mean" or "other".')
    return number


flag = checked_flag


def listed(field: str, given: object) -> tuple[Any, ...]:
    """The entries of a list."""
    if not isinstance(given, list | tuple):
        raise InvalidRequestError(f"{field} is {shown(given)}. Give a list.")
    return tuple(given)


def several(field: str, given: object, kind: type[StepT]) -> tuple[StepT, ...]:
    """A list of changes or traces."""
    steps = listed(field, given)
    if len(steps) > _MOST_STEPS:
        raise InvalidRequestError(f"{field} has {len(steps)} entries. Give at most {_MOST_STEPS}.")
    for number, step in enumerate(steps):
        if not isinstance(step, kind):
            raise InvalidRequestError(f"{field}[{number}] is {shown(step)}. Give a {kind.__name__}.")
    return steps


def _prompt(field: str, given: object) -> PromptAsked:
    if isinstance(given, str):
        return str.__str__(checked_text(field, given))
    if is_chat(given):
        try:
            checked_messages(given)
            messages = tuple(plain_value(message, field) for message in given)
        except PromptError as error:
            raise InvalidRequestError(f"{field}: {error}") from None
        checked_text(field, json.dumps(messages, ensure_ascii=False))
        return messages
    if (token_ids := _token_ids(given)) is None:
        raise InvalidRequestError(f"{field} is {shown(given)}. Give a text, a list of messages, or token ids.")
    return token_ids


def _other_prompt(field: str, given: object) -> PromptAsked | None:
    return None if given is None else _prompt(field, given)


def _answers(field: str, given: object) -> tuple[AnswerAsked, ...]:
    answers: list[AnswerAsked] = []
    for number, each in enumerate(listed(field, given)):
        name = f"{field}[{number}]"
        token_ids = _token_ids(each)
        if token_ids is None and not isinstance(each, str):
            raise InvalidRequestError(f"{name} is {shown(each)}. Give a text, or a list of token ids.")
        answers.append(str.__str__(checked_text(name, each)) if token_ids is None else token_ids)
    return tuple(answers)


def alternatives(field: str, given: object) -> tuple[Any, ...]:
    """Targets or distractors as `ne.attribute` takes them, in the form in which the field holds them."""
    is_one = isinstance(given, str) or whole_number(given) is not None
    several = () if given is None else (given,) if is_one else listed(field, given)
    return tuple(each if (number := whole_number(each)) is None else (number,) for each in several)


def _token_ids(given: object) -> tuple[int, ...] | None:
    """Token ids from a list of whole numbers; None for all else, and for an empty list."""
    numbers = [whole_number(each) for each in given] if isinstance(given, list | tuple) else []
    whole = tuple(number for number in numbers if number is not None)
    return whole if numbers and len(whole) == len(numbers) else None


def _metric(field: str, given: object) -> str | None:
    return None if given is None else checked_text(field, given)


def _positions(field: str, given: object) -> tuple[int, ...] | None:
    if given is None:
        return None
    if (positions := _token_ids(given)) is None:
        raise InvalidRequestError(f"{field} is {shown(given)}. Give a list of positions; -1 is the last token.")
    return positions


def _flag_or_none(field: str, given: object) -> bool | None:
    return None if given is None else checked_flag(field, given)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "prompt": _prompt,
    "target": _answers,
    "distractor": _answers,
    "other_prompt": _other_prompt,
    "is_compared": checked_flag,
    "metric": _metric,
    "positions": _positions,
    "prepend_bos": _flag_or_none,
}
"""What checks each field, but for changes and traces."""
