"""What a language model is asked, what it answers, and the interface of what asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class ChatRequest:
    """A question to a language model.

    Attributes:
        messages: the conversation: each one's role and text.
        max_tokens: the most tokens of the answer.
        temperature: of sampling; 0: the likeliest tokens.
        seed: of sampling, where the model takes one.
        schema: a JSON schema that the answer must follow, where the model can be held to one; None: any text.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are wanted, at each token of the answer;
            an answer may come without them.
    """

    messages: tuple[tuple[Role, str], ...]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    top_logprobs: int = 0


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
