"""The tokens of the sequences that examples are from."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from neuron_explainer.collation.corpus.windows import Batch

_FEWEST_KEPT = 4096


class SequenceTable:
    """Token sequences by their numbers; those that no example refers to any more are let go of now and then.

    So it never holds more than about twice as many sequences as there are examples.
    """

    def __init__(self) -> None:
        self._tokens: dict[int, NDArray[np.int32]] = {}
        self._prune_at = _FEWEST_KEPT

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, sequence_index: int) -> NDArray[np.int32]:
        return self._tokens[sequence_index]

    def add(self, batch: Batch) -> None:
        """Keep a batch's sequences."""
        tokens = batch.tokens.numpy().astype(np.int32)
        for row, (number, length) in enumerate(zip(batch.sequence_index.tolist(), batch.lengths.tolist(), strict=True)):
            self._tokens[number] = tokens[row, :length].copy()

    @property
    def is_full(self) -> bool:
        """Whether it is time to `keep_only` what is referred to."""
        return len(self._tokens) >= self._prune_at

    def keep_only(self, referred_to: Iterable[Int64[Tensor, "..."]]) -> None:
        """Let go of every sequence whose number is in none of the tensors (-1 is no sequence)."""
        distinct = [torch.unique(numbers).cpu() for numbers in referred_to]
        live = torch.unique(torch.cat(distinct)).tolist() if distinct else []
        self._tokens = {number: self._tokens[number] for number in live if number >= 0}
        self._prune_at = max(_FEWEST_KEPT, 2 * len(self._tokens))

    def merge(self, other: "SequenceTable") -> "SequenceTable":
        """Both tables' sequences."""
        merged = SequenceTable()
        merged._tokens = self._tokens | other._tokens
        merged._prune_at = max(self._prune_at, other._prune_at)
        return merged

    def tensors(self) -> dict[str, Tensor]:
        """The table as three tensors, in the order of the numbers."""
        numbers = sorted(self._tokens)
        tokens = [self._tokens[number] for number in numbers]
        return {
            "number": torch.tensor(numbers, dtype=torch.int64),
            "length": torch.tensor([len(each) for each in tokens], dtype=torch.int32),
            "tokens": torch.from_numpy(np.concatenate([np.zeros(0, np.int32), *tokens])),
        }

    @classmethod
    def from_tensors(cls, named: dict[str, Any]) -> "SequenceTable":
        """The table whose `tensors` these are."""
        table = cls()
        ends = named["length"].cumsum(0).tolist()
        tokens = named["tokens"].numpy()
        for number, start, end in zip(named["number"].tolist(), [0, *ends], ends, strict=False):
            table._tokens[number] = tokens[start:end].copy()
        table._prune_at = max(_FEWEST_KEPT, 2 * len(table._tokens))
        return table
