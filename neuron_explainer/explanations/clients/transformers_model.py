"""A model of `transformers` that answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from neuron_explainer.errors import PromptError
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatRequest
from neuron_explainer.explanations.clients.own_model import as_chat, likeliest_tokens, text_of_messages, without_system
from neuron_explainer.models.watching import stop_if_asked

_SAMPLING = threading.Lock()
"""Held while a model samples: torch's generators are those of all threads."""


class TransformersModel:
    """A causal language model of `transformers` with its tokenizer, as a LocalClient asks it.

    Args:
        model: the model.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.name = str(getattr(model.config, "_name_or_path", "") or type(model).__name__)

    def batches(self, requests: Sequence[ChatRequest]) -> Iterator[list[int]]:
        """The numbers of the requests that are answered together: each alone."""
        return iter([number] for number in range(len(requests)))

    def answers(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The answers."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: ChatRequest) -> ChatAnswer:
        prompt = self._prompt(request)
        n_new, wants_logprobs = self._n_new(request, len(prompt)), request.top_logprobs > 0
        tokens = torch.tensor([prompt], dtype=torch.long, device=self._model.device)
        is_sampled = request.temperature > 0
        seed = request.seed if is_sampled else None
        sampling: dict[str, Any] = {"temperature": None, "top_k": None, "top_p": None}
        if is_sampled:
            sampling = {"temperature": request.temperature, "top_k": 0, "top_p": 1.0}
        with torch.no_grad(), _SAMPLING if is_sampled else nullcontext(), _seeded(seed, tokens.device):
            made = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=n_new,
                do_sample=is_sampled,
                num_beams=1,
                pad_token_id=self._pad_token_id(),
                return_dict_in_generate=True,
                output_logits=wants_logprobs,
                stopping_criteria=[_never_but_by_a_stop],
                **sampling,
            )
        new = made.sequences[0, len(prompt) :].tolist()
        is_whole = bool(new) and new[-1] in self._end_token_ids()
        written = new[:-1] if is_whole else new
        logprobs = None
        if wants_logprobs and written:
            logits = torch.cat(made.logits[: len(written)]).float()
            logprobs = likeliest_tokens(logits.log_softmax(-1), written, request.top_logprobs, self._texts)
        text = self._tokenizer.decode(written, skip_special_tokens=True)
        return ChatAnswer(text, is_whole, len(prompt), len(written), logprobs)

    def _prompt(self, request: ChatRequest) -> list[int]:
        pairs = request.messages
        if not getattr(self._tokenizer, "chat_template", None):
            return list(self._tokenizer(text_of_messages(pairs))["input_ids"])
        try:
            text = self._written(pairs)
        except Exception:  # jinja2's own error where a template refuses a role
            if not any(role == "system" for role, _ in pairs):
                raise
            text = self._written(without_system(pairs))
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _written(self, messages: Sequence[tuple[str, str]]) -> str:
        text: str = self._tokenizer.apply_chat_template(as_chat(messages), add_generation_prompt=True, tokenize=False)
        return text

    def _n_new(self, request: ChatRequest, n_prompt: int) -> int:
        """How many tokens the answer may have: no more than the context has room for."""
        longest = getattr(self._model.config, "max_position_embeddings", None)
        if not isinstance(longest, int):
            return request.max_tokens
        if n_prompt > longest:
            raise PromptError(
                f"The prompt has {n_prompt} tokens, and the model's context {longest}. Ask with less text."
            )
        return max(1, min(request.max_tokens, longest - n_prompt + 1))

    def _texts(self, token_ids: Sequence[int]) -> list[str]:
        return [self._tokenizer.decode([token_id]) for token_id in token_ids]

    def _end_token_ids(self) -> frozenset[int]:
        found = self._model.generation_config.eos_token_id
        return frozenset(found if isinstance(found, list) else [] if found is None else [found])

    def _pad_token_id(self) -> int:
        """What pads; a single prompt needs none, but `generate` warns without one."""
        return next((each for each in (self._tokenizer.pad_token_id, *self._end_token_ids()) if each is not None), 0)


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Within it, torch's generators begin at a seed; afterwards they are as before. None: they are left alone."""
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _never_but_by_a_stop(tokens: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
    """After each token: go on, unless watched work is to stop."""
    stop_if_asked()
    return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
