"""The tokens of the sequences that examples come from."""

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
    """Token sequences by number. Sequences that no example uses any more are dropped now and then.

    So the table has at most about twice as many sequences as there are examples, plus one batch.
    """

    def __init__(self) -> None:
        self._tokens: dict[int, NDArray[np.int32]] = {}
        self._prune_at = _FEWEST_KEPT

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, sequence_index: int) -> NDArray[np.int32]:
        return self._tokens[sequence_index]

    def add(self, batch: Batch) -> None:
        """Add a batch's sequences."""
        tokens = batch.tokens.numpy().astype(np.int32)
        for row, (number, length) in enumerate(zip(batch.sequence_index.tolist(), batch.lengths.tolist(), strict=True)):
            self._tokens[number] = tokens[row, :length].copy()

    @property
    def is_full(self) -> bool:
        """Whether it is time to call `keep_only`."""
        return len(self._tokens) >= self._prune_at

    def keep_only(self, used: Iterable[Int64[Tensor, "..."]]) -> None:
        """Drop every sequence whose number is not in the tensors; -1 stands for no sequence."""
        distinct = [torch.unique(numbers).cpu() for numbers in used]
        live = torch.unique(torch.cat(distinct)).tolist() if distinct else []
        self._tokens = {number: self._tokens[number] for number in live if number >= 0}
        self._prune_at = max(_FEWEST_KEPT, 2 * len(self._tokens))

    def merge(self, other: "SequenceTable") -> "SequenceTable":
        """The sequences of both tables."""
        merged = SequenceTable()
        merged._tokens = self._tokens | other._tokens
        merged._prune_at = max(self._prune_at, other._prune_at)
        return merged

    def tensors(self) -> dict[str, Tensor]:
        """The table as three tensors, in the order of the sequence numbers."""
        numbers = sorted(self._tokens)
        tokens = [self._tokens[number] for number in numbers]
        return {
            "number": torch.tensor(numbers, dtype=torch.int64, device="cpu"),
            "length": torch.tensor([len(each) for each in tokens], dtype=torch.int32, device="cpu"),
            "tokens": torch.from_numpy(np.concatenate([np.zeros(0, np.int32), *tokens])),
        }

    @classmethod
    def from_tensors(cls, named: dict[str, Any]) -> "SequenceTable":
        """The table that has these `tensors`."""
        table = cls()
        ends = named["length"].cumsum(0).tolist()
        tokens = named["tokens"].numpy()
        for number, start, end in zip(named["number"].tolist(), [0, *ends], ends, strict=False):
            table._tokens[number] = tokens[start:end].copy()
        table._prune_at = max(_FEWEST_KEPT, 2 * len(table._tokens))
        return table
