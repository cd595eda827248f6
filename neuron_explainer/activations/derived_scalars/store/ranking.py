"""The largest numbers of several derived scalars, perhaps of some tokens alone, and where they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.index_fields import TensorIndex
from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.activations.derived_scalars.store.selection import DstsGiven, Layers, selected
from neuron_explainer.activations.derived_scalars.store.shapes import Tensors
from neuron_explainer.activations.derived_scalars.store.top_k import top_k
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, shown
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, values_of
from neuron_explainer.vocabulary.checks import flag_of, whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import PassType

TokensGiven = SupportsIndex | Iterable[SupportsIndex]
"""One position or several, counted from 0."""


def _checked_positions(tokens: TokensGiven, n_tokens: int) -> list[int]:
    """Positions as plain ints, each once.

    Raises:
        InvalidRequestError: no position is given, or one is not a whole number from 0 on.
        IndexOutOfRangeError: the prompt does not have one.
    """
    one = whole_number(tokens)
    numbers: list[int | None] = [one]
    if one is None and isinstance(tokens, Iterable) and not isinstance(tokens, str):
        numbers = [whole_number(token) for token in tokens]
    positions = [number for number in numbers if number is not None and number >= 0]
    if not numbers or len(positions) < len(numbers):
        raise InvalidRequestError(f"tokens is {shown(tokens)}. Give positions, counted from 0, or None for all.")
    for position in positions:
        if position >= n_tokens:
            raise IndexOutOfRangeError(f"The prompt has no token {position}; tokens: 0–{n_tokens - 1}.")
    return list(dict.fromkeys(positions))


_MOST_ROWS = 1_000_000  # a DataFrame of so many rows takes about 100 MB


@dataclass(frozen=True, eq=False)
class RankedTensor:
    """A tensor in which numbers are looked for.

    Attributes:
        dst, layer, pass_type: what it is.
        tensor: the numbers.
        rows: where the rows of the tensor are on the scalar's first axis; None if it has all of them.
    """

    dst: DerivedScalarType
    layer: int | None
    pass_type: PassType
    tensor: Neurons
    rows: Sequence[int] | None = None

    def index(self, row: int, column: int, summed: Collection[Dimension]) -> DerivedScalarIndex:
        """The index of a number, by its row and its place in what is kept of the row; "All" for summed axes."""
        if isinstance(self.tensor, RoutedTensor):
            column = self.tensor.column(row, column)
        others = [int(entry) for entry in np.unravel_index(column, self.tensor.shape[1:])]
        entries = (row if self.rows is None else self.rows[row], *others)
        dimensions = self.dst.shape_spec_per_token_sequence
        named: tuple[TensorIndex, ...] = tuple(
            "All" if dimension in summed else entry for entry, dimension in zip(entries, dimensions, strict=True)
        )
        return DerivedScalarIndex(self.dst, self.layer, named, self.pass_type)


def asked_tensors(
    tensors: Tensors,
    n_tokens: int,
    summed: Collection[Dimension],
    dsts: DstsGiven,
    layers: Layers | None,
    pass_type: PassType | str,
    tokens: TokensGiven | None,
) -> list[RankedTensor]:
    """The tensors of some derived scalars and layers, at some tokens; None stands for all.

    Raises:
        NotDerivedError: one of `dsts`, or of `layers`, was not derived.
        InvalidRequestError: `tokens` are not positions, or a scalar's tokens were summed.
        IndexOutOfRangeError: the prompt does not have one of `tokens`.
    """
    direction = member_of(PassType, pass_type, "pass type")
    positions = None if tokens is None else _checked_positions(tokens, n_tokens)
    found = []
    for dst, layer, tensor in selected(tensors, dsts, layers, direction):
        rows = None if positions is None else _rows_of_tokens(dst, positions, summed)
        found.append(RankedTensor(dst, layer, direction, tensor if rows is None else tensor[rows], rows))
    return found


def n_rows(tensors: Iterable[RankedTensor]) -> int:
    """How many rows a table of all numbers has.

    Raises:
        InvalidRequestError: over a million.
    """
    n_numbers = sum(each.tensor.numel() for each in tensors)
    if n_numbers > _MOST_ROWS:
        raise InvalidRequestError(
            f"A table of {n_numbers:,} rows exceeds the limit of {_MOST_ROWS:,}. Give k, or fewer dsts, layers, tokens."
        )
    return n_numbers


def checked_order(largest: object) -> bool:
    """Whether the largest numbers are asked for. What was meant as `dsts` is refused."""
    flag = flag_of(largest)
    if flag is None:
        raise InvalidRequestError(
            f"largest is {shown(largest)}. Give True or False; name derived scalars as dsts=…, layers as layers=…."
        )
    return flag


def largest_numbers(
    tensors: Sequence[RankedTensor], k: int, largest: bool, summed: Collection[Dimension]
) -> tuple[Float[Tensor, " k"], list[DerivedScalarIndex]]:
    """The k largest (or smallest) numbers of all tensors together, best first, and an index for each."""
    ranked = top_k([values_of(each.tensor) for each in tensors], k, largest)
    places = zip(ranked.tensor.tolist(), ranked.row.tolist(), ranked.column.tolist(), strict=True)
    return ranked.values, [tensors[number].index(row, column, summed) for number, row, column in places]


def _rows_of_tokens(dst: DerivedScalarType, positions: Iterable[int], summed: Collection[Dimension]) -> list[int]:
    """The rows, on a scalar's first axis, that belong to tokens; of pairs, to those of which they attend from.

    Raises:
        InvalidRequestError: the scalar's tokens were summed.
    """
    first = dst.shape_spec_per_token_sequence[0]
    if first in summed:
        raise InvalidRequestError(
            f"{dst.value} was summed over the axis {first.label!r}: its numbers belong to no token. Leave tokens out."
        )
    if first is Dimension.SEQUENCE_TOKEN_PAIRS:  # the flattened lower triangle
        return [token * (token + 1) // 2 + to for token in positions for to in range(token + 1)]
    return list(positions)
