"""A histogram of every component whose bins adapt to the values, with a result that does not depend on their order.

A component's bins are [i·w, (i+1)·w) for consecutive integers i. The width w is the smallest power of two for which all
values lie in `n_bins` bins. When a value falls outside, w doubles as often as needed: two old bins make exactly one new
bin, so nothing is lost.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float32, Float64, Int32, Int64
from torch import Tensor

from neuron_explainer.collation.statistics.scratch import Scratch

_SMALLEST_EXPONENT = -100
_MAX_RANGE_EXPONENT = 20
"""A bin is at least 2^-20 of the largest magnitude wide, so that bin numbers are exact in float32."""


@dataclass
class RunningHistogram:
    """The histogram of the values so far.

    Attributes:
        exponent: the bin width as an exponent of 2.
        first_bin: the number i of the first bin.
        counts: how many values each bin has.
        lowest, highest: the range of the values; +inf and -inf before the first value.
    """

    exponent: Int64[Tensor, " components"]
    first_bin: Int64[Tensor, " components"]
    counts: Int64[Tensor, "components bins"]
    lowest: Float32[Tensor, " components"]
    highest: Float32[Tensor, " components"]

    @classmethod
    def empty(cls, n_components: int, n_bins: int, device: torch.device) -> "RunningHistogram":
        """The histogram of no values."""
        return cls(
            exponent=torch.full((n_components,), _SMALLEST_EXPONENT, dtype=torch.int64, device=device),
            first_bin=torch.zeros(n_components, dtype=torch.int64, device=device),
            counts=torch.zeros(n_components, n_bins, dtype=torch.int64, device=device),
            lowest=torch.full((n_components,), torch.inf, dtype=torch.float32, device=device),
            highest=torch.full((n_components,), -torch.inf, dtype=torch.float32, device=device),
        )

    def make_room(self, lowest: Float32[Tensor, " components"], highest: Float32[Tensor, " components"]) -> None:
        """Widen the bins where needed, so that values from `lowest` to `highest` have a bin."""
        changed = (lowest < self.lowest) | (highest > self.highest)
        if not bool(changed.any()):
            return
        self.lowest = torch.minimum(self.lowest, lowest)
        self.highest = torch.maximum(self.highest, highest)
        rows = changed.nonzero()[:, 0]
        exponent, first_bin = _fit(self.lowest[rows], self.highest[rows], self.counts.shape[1])
        self.counts[rows] = _moved(self.counts[rows], self.exponent[rows], self.first_bin[rows], exponent, first_bin)
        self.exponent[rows] = exponent
        self.first_bin[rows] = first_bin

    def of(self, components: slice) -> "RunningHistogram":
        """Some components' histogram. What is added there is added here."""
        return RunningHistogram(*(getattr(self, field.name)[components] for field in fields(self)))

    def add(self, places: Int32[Tensor, "entries components"]) -> None:
        """Count values at the places that `places_of` gave them."""
        self.counts += torch.bincount(places.view(-1), minlength=self.counts.numel()).view_as(self.counts)

    def remove(self, places: Int32[Tensor, "entries components"], times: Int64[Tensor, " entries"]) -> None:
        """Take back values that were counted, each so many times."""
        # `counts` may be a view, but its rows are whole.
        self.counts.view(-1).scatter_add_(0, places.view(-1).long(), -times[:, None].expand_as(places).flatten())

    def places_of(self) -> "Places":
        """What gives values their places, for as long as `make_room` changes nothing."""
        n_components, n_bins = self.counts.shape
        row_start = torch.arange(n_components, dtype=torch.int64, device=self.counts.device) * n_bins
        return Places(torch.exp2(-self.exponent.to(torch.float32)), (row_start - self.first_bin).to(torch.int32))

    def has_fitting_bins(self) -> bool:
        """Whether the bins are those of the range, as they are in every histogram that was made here."""
        is_empty = self.lowest.isposinf() & self.highest.isneginf()
        is_range = self.lowest.isfinite() & self.highest.isfinite() & (self.lowest <= self.highest)
        exponent, first_bin = _fit(self.lowest, self.highest, self.counts.shape[1])
        return bool((is_empty | is_range).all()) and bool(
            (self.exponent == exponent).all() and (self.first_bin == first_bin).all()
        )

    def merge(self, other: "RunningHistogram") -> "RunningHistogram":
        """The histogram of the values of both."""
        lowest, highest = torch.minimum(self.lowest, other.lowest), torch.maximum(self.highest, other.highest)
        exponent, first_bin = _fit(lowest, highest, self.counts.shape[1])
        counts = sum(_moved(part.counts, part.exponent, part.first_bin, exponent, first_bin) for part in (self, other))
        assert isinstance(counts, Tensor)
        return RunningHistogram(exponent, first_bin, counts, lowest, highest)

    def edges(self) -> Float64[Tensor, "components edges"]:
        """The edges of the bins; bin i goes from edge i (inclusive) to edge i + 1."""
        n_bins = self.counts.shape[1]
        steps = self.first_bin[:, None] + torch.arange(n_bins + 1, dtype=torch.int64, device=self.counts.device)
        return steps.double() * torch.exp2(self.exponent.double())[:, None]


@dataclass(frozen=True)
class Places:
    """The place of a value's bin among those of all components. Values must lie in the range of the histogram.

    Attributes:
        bins_per_unit: how many bins a range of 1 has.
        offset: what is added to the number of a bin.
    """

    bins_per_unit: Float32[Tensor, " components"]
    offset: Int32[Tensor, " components"]

    def find(
        self,
        values: Float32[Tensor, "entries components"],
        scratch: Scratch,
        out: Int32[Tensor, "entries components"] | None = None,
    ) -> Int32[Tensor, "entries components"]:
        """The places of values.

        Args:
            values: the values.
            scratch: memory for intermediate results.
            out: where the places go; None: in memory of their own.
        """
        # Bin numbers are floored before the first bin is subtracted, so that rounding cannot move a value.
        in_bins = scratch.take("in bins", values.shape, torch.float32)
        torch.mul(values, self.bins_per_unit, out=in_bins)
        places = in_bins.floor_().to(torch.int32) if out is None else out.copy_(in_bins.floor_())
        return places.add_(self.offset)


def _fit(
    lowest: Float32[Tensor, " rows"], highest: Float32[Tensor, " rows"], n_bins: int
) -> tuple[Int64[Tensor, " rows"], Int64[Tensor, " rows"]]:
    """The smallest bin width (as an exponent) for which the range needs at most `n_bins` bins, and the first bin."""
    seen = highest >= lowest
    low = torch.where(seen, lowest, 0.0).double()
    high = torch.where(seen, highest, 0.0).double()
    # A width below range / n_bins never suffices. 2^p is above it, and 2^(p + 1) always suffices for 4 bins or more.
    exponent = torch.maximum(
        _exponent_above((high - low) / n_bins),
        _exponent_above(torch.maximum(low.abs(), high.abs())) - _MAX_RANGE_EXPONENT,
    ).clamp_min(_SMALLEST_EXPONENT)
    needed = _bin(high, exponent) - _bin(low, exponent) + 1
    exponent = exponent + (needed > n_bins)
    return exponent, _bin(low, exponent)


def _exponent_above(value: Float64[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
    """The smallest p with value < 2^p; for 0 a very small number."""
    return torch.where(value > 0, torch.frexp(value).exponent.to(torch.int64), 2 * _SMALLEST_EXPONENT)


def _bin(value: Float64[Tensor, " rows"], exponent: Int64[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
    return torch.floor(value * torch.exp2(-exponent.double())).to(torch.int64)


def _moved(
    counts: Int64[Tensor, "rows bins"],
    exponent: Int64[Tensor, " rows"],
    first_bin: Int64[Tensor, " rows"],
    new_exponent: Int64[Tensor, " rows"],
    new_first_bin: Int64[Tensor, " rows"],
) -> Int64[Tensor, "rows bins"]:
    """The same counts in wider bins with another start."""
    n_bins = counts.shape[1]
    old_bins = first_bin[:, None] + torch.arange(n_bins, dtype=torch.int64, device=counts.device)
    doublings = (new_exponent - exponent).clamp(0, 62)[:, None]
    target = (old_bins >> doublings) - new_first_bin[:, None]
    # Bins outside of the new range are empty: the new range contains every counted value.
    return torch.zeros_like(counts).scatter_add_(1, target.clamp(0, n_bins - 1), counts)
