"""Targets and distractors as tokens: single ones, alternatives, and answers of several tokens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex, cast

from neuron_explainer.activations.derived_scalars.engine.prompts import token_strings_of
from neuron_explainer.errors import InvalidRequestError, NotOneTokenError, shown
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import checked_token_id, whole_number

Given = str | SupportsIndex | Iterable[Any] | None
"""A token as text or id; a text of several tokens; or a list of such, which are alternatives."""

_WHICH = {True: "target", False: "distractor"}


@dataclass(frozen=True)
class Answer:
    """One target or distractor.

    Attributes:
        text: as it was given; of ids, their text.
        token_ids: its tokens.
        is_target: False for a distractor.
        is_text: whether it was given as text.
    """

    text: str
    token_ids: tuple[int, ...]
    is_target: bool
    is_text: bool = True

    def as_json(self) -> str | list[int]:
        """Its text; its tokens where the text does not tell them."""
        return self.text if self.is_text else list(self.token_ids)

    @property
    def asked(self) -> str:
        """What it is in the question: "target" or "distractor"."""
        return _WHICH[self.is_target]

    @property
    def is_one_token(self) -> bool:
        """Whether it is a single token."""
        return len(self.token_ids) == 1


def read_answers(model: ModelContext, given: Given, is_target: bool) -> tuple[Answer, ...]:
    """The answers that were given, in order.

    Raises:
        InvalidRequestError: one is neither a text nor token ids, the list is empty, or the model does not have an id.
        NotOneTokenError: a text has no tokens.
    """
    which = _WHICH[is_target]
    if given is None:
        return ()
    if isinstance(given, str) or whole_number(given) is not None:
        return (_read_one(model, given, is_target),)
    if not _is_list(given):
        raise InvalidRequestError(f"{which} is {shown(given)}. Give a token, an answer as text, or a list of them.")
    answers = tuple(_read_one(model, each, is_target) for each in cast("Iterable[Any]", given))
    if not answers:
        raise InvalidRequestError(f"{which} is an empty list. Give at least one token, or leave it out.")
    return answers


def _read_one(model: ModelContext, given: object, is_target: bool) -> Answer:
    if isinstance(given, str):
        token_ids = model.encode(given, add_special_tokens=False)
        if not token_ids:
            raise NotOneTokenError(given, [])
        return Answer(given, tuple(token_ids), is_target)
    number = whole_number(given)
    numbers = [number] if number is not None else list(cast("Iterable[Any]", given)) if _is_list(given) else []
    if not numbers or any(isinstance(each, Iterable) and whole_number(each) is None for each in numbers):
        which = _WHICH[is_target]
        raise InvalidRequestError(
            f"{which} holds {shown(given)}. Give each as its text or its token ids; a list within the list is one "
            "answer's token ids."
        )
    ids = tuple(checked_token_id(each, model.vocab_size, model.model_name) for each in numbers)
    return Answer("".join(token_strings_of(model, ids)), ids, is_target, is_text=False)


def _is_list(given: object) -> bool:
    """Whether it holds answers or ids; bytes, mappings and single numbers do not."""
    is_number = getattr(given, "ndim", 1) == 0
    return isinstance(given, Iterable) and not isinstance(given, bytes | bytearray | Mapping) and not is_number
