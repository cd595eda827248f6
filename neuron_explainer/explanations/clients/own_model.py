"""A model of this library that answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuron_explainer.attribution.computing.batches import batches_of
from neuron_explainer.errors import ChatTemplateError
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatRequest
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.generation.sampling import Sampling

if TYPE_CHECKING:
    from neuron_explainer.models.abstract_model_context import ModelContext


class OwnModel:
    """A model of this library, as a LocalClient asks it.

    Args:
        model: the model; without a tokenizer it raises TokenizerError.
    """

    def __init__(self, model: ModelContext) -> None:
        self._model: Any = model
        self._tokenizer = model.tokenizer
        self.name = model.model_name

    def batches(self, requests: Sequence[ChatRequest]) -> Iterator[list[int]]:
        """The numbers of the requests that are answered together: greedy ones of similar length."""
        groups: dict[object, list[int]] = {}
        lengths = []
        for number, request in enumerate(requests):
            n_prompt = len(self._prompt(request))
            n_new = self._n_new(request, n_prompt)
            lengths.append(n_prompt + n_new)
            groups.setdefault((number,) if request.temperature else n_new, []).append(number)
        transformer = self._model.get_or_create_model()
        for numbers in groups.values():
            for batch in batches_of([lengths[number] for number in numbers], transformer):
                yield [numbers[each] for each in batch]

    def answers(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The answers to a batch: requests of as many new tokens, or one."""
        prompts, first = [self._prompt(request) for request in requests], requests[0]
        end_tokens = frozenset(self._model.end_token_ids)
        new = generate(
            self._model.get_or_create_model(),
            prompts,
            max_new_tokens=self._n_new(first, len(prompts[0])),
            sampling=Sampling(temperature=first.temperature, seed=first.seed if first.temperature else None),
            stop_tokens=tuple(end_tokens),
        )
        return [self._answer(*each, end_tokens) for each in zip(requests, prompts, new, strict=True)]

    def _answer(
        self, request: ChatRequest, prompt: list[int], new: list[int], end_tokens: frozenset[int]
    ) -> ChatAnswer:
        is_whole = bool(new) and new[-1] in end_tokens
        written = new[:-1] if is_whole else new
        text = self._model.decode(written) if written else ""
        logprobs = self._logprobs(prompt, written, request.top_logprobs) if request.top_logprobs else None
        return ChatAnswer(text, is_whole, len(prompt), len(written), logprobs)

    def _prompt(self, request: ChatRequest) -> list[int]:
        pairs = request.messages
        if self._tokenizer.chat_template is None:
            return list(self._model.encode(text_of_messages(pairs)))
        try:
            return list(self._model.encode(self._model.chat_text(as_chat(pairs), add_generation_prompt=True)))
        except ChatTemplateError:
            if not any(role == "system" for role, _ in pairs):
                raise
            return list(
                self._model.encode(self._model.chat_text(as_chat(without_system(pairs)), add_generation_prompt=True))
            )

    def _n_new(self, request: ChatRequest, n_prompt: int) -> int:
        """How many tokens the answer may have: no more than the context has room for."""
        return max(1, min(request.max_tokens, self._model.max_context_length - n_prompt + 1))

    def _logprobs(self, prompt: list[int], written: list[int], n: int) -> tuple[Mapping[str, float], ...]:
        """The likeliest tokens at each token of an answer, and that token itself."""
        if not written:
            return ()
        import torch

        transformer = self._model.get_or_create_model()
        tokens = torch.tensor([[*prompt, *written[:-1]]], dtype=torch.long, device=transformer.device)
        with torch.no_grad():
            logits = transformer(tokens)[0, len(prompt) - 1 :].float()
        return likeliest_tokens(logits.log_softmax(-1), written, n, self._model.decode_token_list)


def likeliest_tokens(logprobs: Any, written: Sequence[int], n: int, decode: Any) -> tuple[Mapping[str, float], ...]:
    """The likeliest tokens at each token of an answer, and that token itself, with their log-probabilities.

    Args:
        logprobs: (tokens of the answer, vocabulary).
        written: the token ids of the answer.
        n: how many tokens.
        decode: gives the texts of token ids.
    """
    found = []
    top = logprobs.topk(min(n, logprobs.shape[-1]), -1)
    for at, own in enumerate(written):
        ids = [*top.indices[at].tolist(), own]
        values = [*top.values[at].tolist(), float(logprobs[at, own])]
        here: dict[str, float] = {}
        for text, value in zip(decode(ids), values, strict=True):
            here.setdefault(text, value)  # of tokens with the same text, the likeliest
        found.append(here)
    return tuple(found)


def text_of_messages(messages: Sequence[tuple[str, str]]) -> str:
    """Messages for a model that knows no chats: their texts, one below the other."""
    return "\n\n".join(text for _, text in messages) + "\n"


def as_chat(messages: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Messages as chat templates want them."""
    return [{"role": role, "content": text} for role, text in messages]


def without_system(messages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Messages for a template that refuses those of the system: each is put before the message after it."""
    found: list[tuple[str, str]] = []
    waiting: list[str] = []
    for role, text in messages:
        if role == "system":
            waiting.append(text)
            continue
        found.append((role, "\n\n".join([*waiting, text])))
        waiting = []
    return found + [("user", text) for text in waiting]
