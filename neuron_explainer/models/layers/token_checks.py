"""Checks of what a model is asked to run over, made before anything runs."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.errors import PromptError


def check_tokens(tokens: Tensor, n_earlier: int, vocab_size: int, max_context_length: int) -> None:
    """Refuse token ids that no model could run over.

    Ids on a GPU are not looked at, since that would make the GPU wait.

    Raises:
        PromptError: not a matrix of integers, empty, too long for the context, or ids outside of the vocabulary.
    """
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise PromptError(
            f"Token ids must be integers of shape (batch, tokens), not {tokens.dtype} {tuple(tokens.shape)}."
        )
    if tokens.numel() == 0:
        raise PromptError(f"A prompt has at least one token; these have shape {tuple(tokens.shape)}.")
    n_tokens = n_earlier + tokens.shape[1]
    if n_tokens > max_context_length:
        raise PromptError(f"The prompt has {n_tokens} tokens; the model's context holds {max_context_length}.")
    if tokens.device.type == "cpu":
        smallest, largest = int(tokens.min()), int(tokens.max())
        if smallest < 0 or largest >= vocab_size:
            missing = smallest if smallest < 0 else largest
            raise PromptError(f"There is no token {missing}; the vocabulary has ids 0 to {vocab_size - 1}.")


def lengths_of_prompts(attention_mask: Bool[Tensor, "batch tokens"], shape: torch.Size) -> Int[Tensor, "batch"]:
    """How many real tokens each prompt has, from a mask that is True for them.

    Raises:
        PromptError: the mask's shape is not the tokens', a prompt is all padding, or padding does not come last.
    """
    if attention_mask.shape != shape:
        raise PromptError(f"The attention mask has shape {tuple(attention_mask.shape)}, the tokens {tuple(shape)}.")
    lengths = attention_mask.sum(dim=1)
    positions = torch.arange(shape[1], device=attention_mask.device)
    if not torch.equal(attention_mask, positions < lengths[:, None]):
        raise PromptError("Padding must come last (padding on the right): a prompt's mask is True up to its end.")
    if int(lengths.min()) < 1:
        raise PromptError("A prompt has at least one token; the attention mask leaves one of them none.")
    return lengths


def padded(
    prompts: Sequence[Sequence[int]], pad_token: int = 0
) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"] | None]:
    """Prompts as one matrix, padded on the right, and the mask of real tokens (None where all are equally long).

    Raises:
        PromptError: there are none, or one is empty.
    """
    lengths = [len(prompt) for prompt in prompts]
    if not lengths or min(lengths) < 1:
        raise PromptError(f"Each prompt has at least one token; these have {lengths or 'no prompts at all'}.")
    longest = max(lengths)
    tokens = torch.tensor([[*prompt, *[pad_token] * (longest - len(prompt))] for prompt in prompts])
    if min(lengths) == longest:
        return tokens, None
    return tokens, torch.arange(longest) < torch.tensor(lengths)[:, None]
