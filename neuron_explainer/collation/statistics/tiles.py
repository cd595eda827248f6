"""A batch's activations in pieces that stay in a processor's cache while they are counted and summed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64
from torch import Tensor

from neuron_explainer.collation.statistics.scratch import Scratch

_ELEMENTS_IN_CACHE = 1 << 16
"""How many activations a piece has on a CPU, so that the ten passes over them stay in the cache of one core."""

_ELEMENTS_ON_ACCELERATOR = 1 << 24

_COMPONENTS_AT_ONCE = 512
"""Of how many components all values are binned at a time. Their bins stay in the cache, where those of a whole layer do
not; fewer lie in pieces of memory that are too short to be read quickly."""

_ENTRIES_IN_FLOAT32 = 256
"""How many values are summed in float32 before the sum goes to float64."""


_FREE_BITS = {torch.bfloat16: 16, torch.float16: 13}
"""How many of the lowest bits of a number are 0 in float32 if it comes from another dtype."""


class Extremes(NamedTuple):
    """The extremes of a batch's values that count.

    Attributes:
        peaks: the largest value of each sequence and component.
        first: the first entry with it, where it is above 0; elsewhere it has no meaning. None: unknown.
        lowest: the lowest value of each component.
    """

    peaks: Float32[Tensor, "sequences components"]
    first: Int32[Tensor, "sequences components"] | None
    lowest: Float32[Tensor, " components"]


class Tile(NamedTuple):
    """Some of the values, in the dtype of sums.

    Attributes:
        values: the values, which the next tile overwrites; each that does not count is replaced by one that does.
        not_counted: the places in the flattened rows and entries of those that do not count.
    """

    values: Float[Tensor, "rows entries components"]
    not_counted: Int64[Tensor, " places"] | None


@dataclass(frozen=True)
class CountedValues:
    """A batch's activations, and which of them count.

    Attributes:
        activations: in any floating-point dtype; what does not count may be anything.
        counted: the entries that count, at least one for each sequence; None: all.
        n_counted: how many count of each component.
        scratch: memory for pieces.
    """

    activations: Float[Tensor, "sequences entries components"]
    counted: Bool[Tensor, "sequences entries"] | None
    n_counted: int
    scratch: Scratch
    _looked_up: dict[tuple[int, int, int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of sums: float64 for float64, else float32."""
        return torch.float64 if self.activations.dtype == torch.float64 else torch.float32

    @cached_property
    def stand_ins(self) -> Float[Tensor, "sequences components"]:
        """For each sequence its first values that count. They replace those that do not: no extreme changes."""
        assert self.counted is not None
        first = self.counted.to(torch.uint8).argmax(dim=1)
        return self.activations[torch.arange(len(first), dtype=torch.int64, device=first.device), first]

    def n_replaced(self) -> Int64[Tensor, " sequences"]:
        """How many values of each sequence and component are replaced by its stand-in."""
        assert self.counted is not None
        return (~self.counted).sum(dim=1)

    def whole(self) -> Float[Tensor, "sequences entries components"]:
        """All values in one piece, in the activations' own dtype."""
        if self.counted is None:
            return self.activations
        return torch.where(self.counted[:, :, None], self.activations, self.stand_ins[:, None, :])

    def mean_of_some(self) -> Float64[Tensor, " components"]:
        """The mean of the first sequences, which is near that of all."""
        values, _ = self._tile(slice(0, self._n_whole_rows), slice(0, self.activations.shape[1]), slice(None))
        return values.mean(dim=(0, 1)).double()

    def extremes(self) -> "Extremes":
        """The peaks of the sequences and the lowest value of each component."""
        n_sequences, n_entries, _ = self.activations.shape
        n_rows = self._n_whole_rows
        free = _FREE_BITS.get(self.activations.dtype, 0)
        last = (1 << free) - 1
        order = None
        if free and n_entries <= last:
            order = last - torch.arange(n_entries, dtype=torch.int32, device=self.activations.device)
        peaks, lowest = [], []
        for first in range(0, n_sequences, n_rows):
            block, not_counted = self._tile(slice(first, first + n_rows), slice(0, n_entries), slice(None))
            lowest.append(block.amin(dim=1).amin(dim=0))
            if order is None:
                peaks.append(block.amax(dim=1))
                continue
            # The free bits say which entry it is, the first one the most: of equal positive values it is the largest.
            marked = block.view(torch.int32).bitwise_or_(order[:, None]).view(torch.float32)
            if not_counted is not None:  # a stand-in does not count at its own place
                marked.flatten(0, 1).index_fill_(0, not_counted, -torch.inf)
            peaks.append(marked.amax(dim=1))
        together, least = torch.cat(peaks), torch.stack(lowest).amin(dim=0).to(torch.float32)
        if order is None:
            return Extremes(together.to(torch.float32), None, least)
        bits = together.view(torch.int32)
        return Extremes((bits & ~last).view(torch.float32), last - (bits & last), least)

    def by_components(self) -> Iterator[tuple[slice, Iterator[Tile]]]:
        """Some components at a time, and their values in pieces that are short enough to be summed in float32."""
        n_components = self.activations.shape[2]
        step = _COMPONENTS_AT_ONCE if self.activations.device.type == "cpu" else n_components
        for first in range(0, n_components, step):
            components = slice(first, min(first + step, n_components))
            yield components, self._tiles(components)

    def _tiles(self, components: slice) -> Iterator[Tile]:
        n_sequences, n_entries, _ = self.activations.shape
        width = min(n_entries, _ENTRIES_IN_FLOAT32)
        n_rows = max(1, self._budget // (width * (components.stop - components.start)))
        for first_entry in range(0, n_entries, width):
            for first_row in range(0, n_sequences, n_rows):
                rows, entries = slice(first_row, first_row + n_rows), slice(first_entry, first_entry + width)
                yield self._tile(rows, entries, components)

    @property
    def _n_whole_rows(self) -> int:
        """How many sequences with all their entries and components are in one piece."""
        n_entries, n_components = self.activations.shape[1:]
        return max(1, self._budget // (n_entries * n_components))

    @property
    def _budget(self) -> int:
        return _ELEMENTS_IN_CACHE if self.activations.device.type == "cpu" else _ELEMENTS_ON_ACCELERATOR

    def _tile(self, rows: slice, entries: slice, components: slice) -> Tile:
        there = self.activations[rows, entries, components]
        values = self.scratch.take("values", there.shape, self.dtype)
        if there.is_contiguous() or there.dtype.itemsize >= 4:
            values.copy_(there)
        else:  # quicker in two steps, by an eighth of all statistics
            values.copy_(self.scratch.take("as they are", there.shape, there.dtype).copy_(there))
        if self.counted is None:
            return Tile(values, None)
        place, row = self._not_counted(rows, entries)
        if len(place) == 0:
            return Tile(values, None)
        stand_ins = self.stand_ins[rows, components].index_select(0, row).to(self.dtype)
        values.flatten(0, 1).index_copy_(0, place, stand_ins)
        return Tile(values, place)

    def _not_counted(self, rows: slice, entries: slice) -> tuple[Int64[Tensor, " places"], Int64[Tensor, " places"]]:
        """The places of what does not count in the flattened rows and entries of a part, and its rows."""
        assert self.counted is not None
        key = (rows.start, rows.stop, entries.start, entries.stop)
        if key not in self._looked_up:
            counted = self.counted[rows, entries]
            row, entry = (~counted).nonzero(as_tuple=True)
            self._looked_up[key] = row * counted.shape[1] + entry, row
        return self._looked_up[key]
