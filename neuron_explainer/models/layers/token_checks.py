"""Checks of token ids and padding, made before a model runs."""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.errors import PromptError, shown
from neuron_explainer.models.chats.messages import is_chat, is_text_or_chat
from neuron_explainer.vocabulary.checks import checked_token_id, checked_type, is_several, whole_number

TokenIds = Sequence[SupportsIndex] | Int[Tensor, "tokens"]
PromptIds = Sequence[SupportsIndex] | Sequence[Sequence[SupportsIndex]] | Int[Tensor, "..."] | Int[np.ndarray, "..."]
"""The token ids of one prompt, alone or as a batch of one."""


def as_token_ids(given: object, accepted: str = "a flat sequence of token ids") -> list[int]:
    """A sequence of token ids as plain ints. Bytes and booleans, which are integers to Python, are refused.

    Args:
        given: the ids.
        accepted: what an error says that the caller takes.

    Raises:
        PromptError: it is not a flat sequence of whole numbers.

    >>> as_token_ids(torch.arange(3))
    [0, 1, 2]
    """
    listed = given.tolist() if isinstance(given, Tensor) else given  # one number of a tensor is slow to read
    numbers: list[int | None] = [None]
    if is_several(listed) and not isinstance(listed, bytes | bytearray):
        numbers = [whole_number(number) for number in listed]
    token_ids = [number for number in numbers if number is not None]
    if len(token_ids) < len(numbers):
        raise PromptError(f"Give {accepted}, not {shown(given, 200)}.")
    return token_ids


def only_prompt(batch: Any, several: str) -> Any:
    """The prompt of a batch of one; token ids that are not in a batch as they are.

    Args:
        batch: token ids, or a batch of one sequence of them, as a tensor or as lists.
        several: the end of an error's sentence, "for several prompts …".

    Raises:
        PromptError: it is a batch of several, or a list of texts or chats, or one message.
    """
    if isinstance(batch, Mapping):
        raise PromptError("The prompt is one mapping. A chat is a list of messages: [message].")
    prompts: Any = batch.tolist() if isinstance(batch, Tensor | np.ndarray) else batch
    if not isinstance(prompts, Sequence) or not prompts or not isinstance(prompts[0], str | Sequence):
        return prompts
    if len(prompts) > 1 or is_text_or_chat(prompts[0]):
        kind = "text" if isinstance(prompts[0], str) else "chat" if is_chat(prompts[0]) else "sequence"
        counted = f"{len(prompts)} {kind}{'' if len(prompts) == 1 else 's'}{' of token ids' * (kind == 'sequence')}"
        raise PromptError(
            f"The prompt is a list of {counted}. Give one text or one flat sequence of token ids, or one list of "
            f"messages; for several prompts {several}."
        )
    return prompts[0]


def int64_on_cpu(numbers: object) -> Int[Tensor, "..."]:
    """Whole numbers as a tensor on the CPU, whatever torch's default device is.

    Args:
        numbers: a flat or nested sequence of them.

    >>> int64_on_cpu([[5, 6]]).shape
    torch.Size([1, 2])
    """
    return torch.tensor(numbers, dtype=torch.int64, device="cpu")


def check_tokens(tokens: Tensor, n_earlier: int, vocab_size: int, max_context_length: int) -> None:
    """Refuse token ids that the model cannot run over.

    The values of ids on a GPU are not checked, because the host would have to wait for the GPU.

    Args:
        tokens: ids, shape (batch, tokens).
        n_earlier: how many tokens a cache holds already.
        vocab_size: how many token ids the model has.
        max_context_length: how many tokens a prompt may have.

    Raises:
        PromptError: the tokens are not a matrix of integers, are empty, too long, or outside of the vocabulary.
    """
    if not isinstance(tokens, Tensor):
        raise PromptError(
            f"tokens is of type {type(tokens).__name__}. Give a tensor of token ids, shape (batch, tokens): "
            "model.to_tokens(text), or torch.tensor([ids])."
        )
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise PromptError(
            f"Token ids must be integers of shape (batch, tokens), not {tokens.dtype} {tuple(tokens.shape)}."
            f"{' For one prompt, use tokens[None].' if tokens.ndim == 1 else ''}"
        )
    if tokens.numel() == 0:
        raise PromptError(f"A prompt needs at least one token; these have shape {tuple(tokens.shape)}.")
    n_tokens = n_earlier + tokens.shape[1]
    if n_tokens > max_context_length:
        raise PromptError(f"The prompt has {n_tokens} tokens; the model's context holds {max_context_length}.")
    if tokens.device.type == "cpu":
        for extreme in (tokens.min(), tokens.max()):
            checked_token_id(int(extreme), vocab_size, "The model", PromptError)


def lengths_of_prompts(attention_mask: Bool[Tensor, "batch tokens"], shape: torch.Size) -> Int[Tensor, " batch"]:
    """The number of real tokens in each prompt, from a mask that is True for them.

    Raises:
        PromptError: the mask does not have the tokens' shape, a prompt is all padding, or padding does not come last.
    """
    checked_type("attention_mask", attention_mask, Tensor, PromptError)
    if attention_mask.shape != shape:
        raise PromptError(f"The attention mask has shape {tuple(attention_mask.shape)}, the tokens {tuple(shape)}.")
    lengths = attention_mask.sum(dim=1)
    positions = torch.arange(shape[1], dtype=torch.int64, device=attention_mask.device)
    if not torch.equal(attention_mask, positions < lengths[:, None]):
        raise PromptError("Padding must come last (on the right): each prompt's mask is True first, then False.")
    if int(lengths.min()) < 1:
        raise PromptError("A prompt needs at least one token; the attention mask of one of them is all False.")
    return lengths


def padded(
    prompts: Sequence[Sequence[int]], pad_token: int = 0
) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"] | None]:
    """Prompts as one matrix, padded on the right, and the mask of real tokens (None if all are equally long).

    Raises:
        PromptError: no prompts were given, or one is empty.

    >>> padded([[5, 6], [7]])
    (tensor([[5, 6],
            [7, 0]]), tensor([[ True,  True],
            [ True, False]]))
    """
    lengths = [len(prompt) for prompt in prompts]
    if not lengths or min(lengths) < 1:
        problem = f"the prompts' lengths are {lengths}" if lengths else "no prompts were given"
        raise PromptError(f"Each prompt needs at least one token: {problem}.")
    longest = max(lengths)
    rows = [[*prompt, *[pad_token] * (longest - len(prompt))] for prompt in prompts]
    tokens = int64_on_cpu(rows)
    if min(lengths) == longest:
        return tokens, None
    return tokens, int64_on_cpu(range(longest)) < int64_on_cpu(lengths)[:, None]
