"""What a language model is asked, what it answers, and the interface of what asks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import msgspec

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.vocabulary.checks import checked_number, checked_type, finite_number, whole_number
from neuron_explainer.wording import as_valid_text

Role = Literal["system", "user", "assistant"]

_MOST_TOKENS, _MOST_LOGPROBS = 1_000_000, 20
_LARGEST_SEED = 2**63 - 1
SECONDS_WITHOUT_BAR = 2.0
"""How long questions are asked before a bar appears that nobody asked for."""


@dataclass(frozen=True)
class ChatRequest:
    """A question to a language model. Equal questions have one answer: of several samples, each has its own seed.

    Attributes:
        messages: the conversation: each one's role and text. What of a text cannot be encoded becomes escapes.
        max_tokens: the most tokens of the answer.
        temperature: of sampling; 0: the likeliest tokens.
        seed: of sampling, where the model takes one.
        schema: a JSON schema that the answer must follow, where the model can be held to one; None: any text.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are wanted, at each token of the answer,
            20 at most; an answer may come without them.

    Raises:
        InvalidRequestError: an attribute is none of these, or there are no messages.

    >>> ChatRequest((("user", "What is 1 + 1?"),)).max_tokens
    256
    """

    messages: tuple[tuple[Role, str], ...]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        temperature = finite_number(self.temperature)
        if temperature is None or temperature < 0:
            raise InvalidRequestError(f"temperature is {shown(self.temperature)}. Give 0 or a positive number.")
        seed, top = self.seed, whole_number(self.top_logprobs)
        if top is None or not 0 <= top <= _MOST_LOGPROBS:
            raise InvalidRequestError(
                f"top_logprobs is {shown(self.top_logprobs)}. Give a whole number from 0 to {_MOST_LOGPROBS}."
            )
        for name, value in (
            ("messages", _checked_messages(self.messages)),
            ("max_tokens", checked_number("max_tokens", self.max_tokens, at_most=_MOST_TOKENS)),
            ("temperature", temperature),
            ("seed", None if seed is None else checked_number("seed", seed, 0, at_most=_LARGEST_SEED)),
            ("top_logprobs", top),
        ):
            object.__setattr__(self, name, value)
        if self.schema is not None:
            _check_schema(self.schema)


@dataclass(frozen=True)
class ChatAnswer:
    """What a language model answered.

    Attributes:
        text: the answer.
        is_whole: whether it ended by itself, and not at the most tokens.
        n_prompt_tokens, n_answer_tokens: how many tokens were read and written; None if unknown.
        logprobs: for each token of the answer, the likeliest tokens with their log-probabilities; None without them.
        is_from_cache: whether it had come before, and was not asked for again.
    """

    text: str
    is_whole: bool = True
    n_prompt_tokens: int | None = None
    n_answer_tokens: int | None = None
    logprobs: tuple[Mapping[str, float], ...] | None = None
    is_from_cache: bool = False


@runtime_checkable
class ChatClient(Protocol):
    """Asks a language model.

    Attributes:
        name: the model's name, for tables and files.
    """

    name: str

    def ask(self, requests: Sequence[ChatRequest], *, progress: bool | None = None) -> list[ChatAnswer]:
        """The answers, in the order of the requests; several are asked at once, where the model can.

        Args:
            requests: the questions.
            progress: whether there is a bar; None: on a terminal or in a notebook, where it takes long.

        Raises:
            NeuronExplainerError: a question cannot be answered; answers that came are kept where the client has a
                cache.
        """
        ...


def checked_requests(requests: object) -> list[ChatRequest]:
    """The questions as a list.

    Raises:
        InvalidRequestError: they are not several ChatRequests.
    """
    if isinstance(requests, ChatRequest) or not isinstance(requests, Iterable) or isinstance(requests, str):
        raise InvalidRequestError(f"requests is {shown(requests)}. Give a list of ChatRequests.")
    return [checked_type("Each request", each, ChatRequest) for each in requests]


def _checked_messages(messages: object) -> tuple[tuple[str, str], ...]:
    form = 'Give pairs of a role and a text: (("user", "What is 1 + 1?"),).'
    if isinstance(messages, str) or not isinstance(messages, Iterable):
        raise InvalidRequestError(f"messages is {shown(messages)}. {form}")
    found = []
    for each in messages:
        is_pair = isinstance(each, tuple | list) and len(each) == 2 and isinstance(each[1], str)
        if not is_pair or each[0] not in get_args(Role):
            raise InvalidRequestError(f"{shown(each)} is not a message. {form} Roles: {', '.join(get_args(Role))}.")
        found.append((each[0], as_valid_text(each[1])))
    if not found:
        raise InvalidRequestError(f"There are no messages. {form}")
    return tuple(found)


def _check_schema(schema: object) -> None:
    try:
        if isinstance(schema, Mapping) and msgspec.json.encode(schema):
            return
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
        pass
    raise InvalidRequestError(f"schema is {shown(schema)}. Give a JSON schema as a dict, or None for any text.")
