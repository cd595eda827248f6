"""What a sequence's activations are counted by: its tokens, or its token pairs."""

from enum import StrEnum

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Entries(StrEnum):
    """The axis before the components. Token pairs are the flattened lower triangle, pair (f, t) at f(f+1)/2 + t."""

    TOKENS = "tokens"
    TOKEN_PAIRS = "token_pairs"

    def of_tokens(self, n_tokens: int) -> int:
        """How many entries a sequence of `n_tokens` has."""
        return n_tokens if self is Entries.TOKENS else n_tokens * (n_tokens + 1) // 2

    def counts(self, n_tokens: Int64[Tensor, " sequences"]) -> Int64[Tensor, " sequences"]:
        """How many entries each of several sequences has; they are the first ones of a padded row."""
        return n_tokens if self is Entries.TOKENS else n_tokens * (n_tokens + 1) // 2

    def counted(
        self, n_tokens: Int64[Tensor, " sequences"], width: int, skip_first_token: bool
    ) -> Bool[Tensor, "sequences {self.of_tokens(width)}"]:
        """Which entries of sequences padded to `width` tokens count.

        Not the padding; and, where a token was put before every sequence, neither that token nor any pair that attends
        to it: a model's activations there are extreme and say nothing about text.
        """
        device = n_tokens.device
        counted = torch.arange(self.of_tokens(width), device=device) < self.counts(n_tokens)[:, None]
        if skip_first_token:
            if self is Entries.TOKENS:
                counted[:, 0] = False
            else:
                rows = torch.arange(width, device=device)
                counted[:, rows * (rows + 1) // 2] = False  # the pairs (f, 0)
        return counted


def flattened_lower_triangle(
    values: Float[Tensor, "sequences tokens tokens components"],
) -> Float[Tensor, "sequences pairs components"]:
    """A (from, to) plane as token pairs."""
    row, column = torch.tril_indices(values.shape[1], values.shape[2], device=values.device)
    return values[:, row, column]
