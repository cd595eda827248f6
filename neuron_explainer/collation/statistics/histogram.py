"""A histogram of every component whose cells fit themselves to the data, the same in whatever order the data come.

A component's cells are [i·w, (i+1)·w) for consecutive integers i, with w a power of two: the least one for which all
its values lie in `n_cells` cells. When a value falls outside, w doubles as often as needed; two old cells fill exactly
one new one, so nothing is lost, and the result depends on the values alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

_SMALLEST_EXPONENT = -100
_PLACES_ABOVE_CELL = 20
"""A cell is at least 2^-20 of the largest magnitude wide, so that cell numbers are exact in float32."""


@dataclass
class RunningHistogram:
    """Cell widths (as exponents of 2), the number of each component's first cell, counts, and the range of the values.

    `lowest` and `highest` are +inf and -inf where there was no value yet.
    """

    exponent: Int64[Tensor, " components"]
    first_cell: Int64[Tensor, " components"]
    counts: Int64[Tensor, "components cells"]
    lowest: Float32[Tensor, " components"]
    highest: Float32[Tensor, " components"]

    @classmethod
    def empty(cls, n_components: int, n_cells: int, device: torch.device) -> "RunningHistogram":
        """The histogram of no values."""
        return cls(
            exponent=torch.full((n_components,), _SMALLEST_EXPONENT, dtype=torch.int64, device=device),
            first_cell=torch.zeros(n_components, dtype=torch.int64, device=device),
            counts=torch.zeros(n_components, n_cells, dtype=torch.int64, device=device),
            lowest=torch.full((n_components,), torch.inf, device=device),
            highest=torch.full((n_components,), -torch.inf, device=device),
        )

    def make_room(self, lowest: Float32[Tensor, " components"], highest: Float32[Tensor, " components"]) -> None:
        """Widen the cells where needed so that values between `lowest` and `highest` have one."""
        changed = (lowest < self.lowest) | (highest > self.highest)
        if not bool(changed.any()):
            return
        self.lowest = torch.minimum(self.lowest, lowest)
        self.highest = torch.maximum(self.highest, highest)
        rows = changed.nonzero()[:, 0]
        exponent, first_cell = _fit(self.lowest[rows], self.highest[rows], self.counts.shape[1])
        self.counts[rows] = _moved(self.counts[rows], self.exponent[rows], self.first_cell[rows], exponent, first_cell)
        self.exponent[rows] = exponent
        self.first_cell[rows] = first_cell

    def add(self, values: Float32[Tensor, "entries components"]) -> None:
        """Count values, for which `make_room` was called before."""
        n_components, n_cells = self.counts.shape
        # Cell numbers are floored before anything is taken off them, so that rounding cannot move a value.
        cells = (values * torch.exp2(-self.exponent.to(torch.float32))).floor_().to(torch.int32)
        row_start = torch.arange(n_components, device=values.device) * n_cells
        cells += (row_start - self.first_cell).to(torch.int32)
        self.counts += torch.bincount(cells.view(-1), minlength=self.counts.numel()).view_as(self.counts)

    def merge(self, other: "RunningHistogram") -> "RunningHistogram":
        """The histogram of both together."""
        lowest, highest = torch.minimum(self.lowest, other.lowest), torch.maximum(self.highest, other.highest)
        exponent, first_cell = _fit(lowest, highest, self.counts.shape[1])
        counts = sum(
            _moved(part.counts, part.exponent, part.first_cell, exponent, first_cell) for part in (self, other)
        )
        assert isinstance(counts, Tensor)
        return RunningHistogram(exponent, first_cell, counts, lowest, highest)

    def edges(self) -> Float64[Tensor, "components edges"]:
        """The borders of the cells; cell i is from edge i (inclusive) to edge i + 1."""
        n_cells = self.counts.shape[1]
        steps = self.first_cell[:, None] + torch.arange(n_cells + 1, device=self.counts.device)
        return steps.double() * torch.exp2(self.exponent.double())[:, None]


def _fit(
    lowest: Float32[Tensor, " rows"], highest: Float32[Tensor, " rows"], n_cells: int
) -> tuple[Int64[Tensor, " rows"], Int64[Tensor, " rows"]]:
    """The least cell width (as an exponent) for which the range takes at most `n_cells` cells, and the first cell."""
    seen = highest >= lowest
    low = torch.where(seen, lowest, 0.0).double()
    high = torch.where(seen, highest, 0.0).double()
    # A width below range / n_cells never suffices; 2^p is above it, and 2^(p+1) always suffices for 4 cells or more.
    exponent = torch.maximum(
        _exponent_above((high - low) / n_cells),
        _exponent_above(torch.maximum(low.abs(), high.abs())) - _PLACES_ABOVE_CELL,
    ).clamp_min(_SMALLEST_EXPONENT)
    needed = _cell(high, exponent) - _cell(low, exponent) + 1
    exponent = exponent + (needed > n_cells)
    return exponent, _cell(low, exponent)


def _exponent_above(value: Float64[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
    """The least p with value < 2^p; for 0 a very small one."""
    return torch.where(value > 0, torch.frexp(value).exponent.to(torch.int64), 2 * _SMALLEST_EXPONENT)


def _cell(value: Float64[Tensor, " rows"], exponent: Int64[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
    return torch.floor(value * torch.exp2(-exponent.double())).to(torch.int64)


def _moved(
    counts: Int64[Tensor, "rows cells"],
    exponent: Int64[Tensor, " rows"],
    first_cell: Int64[Tensor, " rows"],
    new_exponent: Int64[Tensor, " rows"],
    new_first_cell: Int64[Tensor, " rows"],
) -> Int64[Tensor, "rows cells"]:
    """The same counts in wider cells that start elsewhere."""
    n_cells = counts.shape[1]
    old_cells = first_cell[:, None] + torch.arange(n_cells, device=counts.device)
    doublings = (new_exponent - exponent).clamp(0, 62)[:, None]
    target = (old_cells >> doublings) - new_first_cell[:, None]
    # Cells outside the new range are empty: the new range holds every value that was counted.
    return torch.zeros_like(counts).scatter_add_(1, target.clamp(0, n_cells - 1), counts)
