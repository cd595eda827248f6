"""Whether a scalar has one number for each token or for each token pair of a sequence. Such a number is an entry."""

from enum import StrEnum

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class EntryKind(StrEnum):
    """What the entries of a sequence are: tokens, or token pairs.

    Token pairs are a flattened lower triangle: the pair (from f, to t), with t <= f, is entry f(f + 1)/2 + t.
    """

    TOKENS = "tokens"
    TOKEN_PAIRS = "token_pairs"

    def of_tokens(self, n_tokens: int) -> int:
        """How many entries a sequence of `n_tokens` has."""
        return n_tokens if self is EntryKind.TOKENS else n_tokens * (n_tokens + 1) // 2

    def counts(self, n_tokens: Int64[Tensor, " sequences"]) -> Int64[Tensor, " sequences"]:
        """How many entries each sequence has. They come first in a padded row."""
        return n_tokens if self is EntryKind.TOKENS else n_tokens * (n_tokens + 1) // 2

    def counted(
        self, n_tokens: Int64[Tensor, " sequences"], width: int, skip_first_token: bool
    ) -> Bool[Tensor, "sequences {self.of_tokens(width)}"]:
        """Which entries of sequences padded to `width` tokens count.

        Padding does not count. With `skip_first_token`, neither does the first token nor any pair that attends to it:
        the first is then a beginning-of-sequence token, where activations are extreme and say nothing about text.
        """
        device = n_tokens.device
        counted = torch.arange(self.of_tokens(width), dtype=torch.int64, device=device) < self.counts(n_tokens)[:, None]
        if skip_first_token:
            if self is EntryKind.TOKENS:
                counted[:, 0] = False
            else:
                rows = torch.arange(width, dtype=torch.int64, device=device)
                counted[:, rows * (rows + 1) // 2] = False  # the pairs (f, 0)
        return counted


def flattened_lower_triangle(
    values: Float[Tensor, "sequences tokens tokens components"],
) -> Float[Tensor, "sequences pairs components"]:
    """Squares of (from, to) as token pairs."""
    row, column = torch.tril_indices(values.shape[1], values.shape[2], dtype=torch.int64, device=values.device)
    return values[:, row, column]
