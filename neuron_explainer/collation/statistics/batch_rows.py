"""The activations of a batch by component and sequence, and the windows of them that examples show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

_ELEMENTS_AT_ONCE = 1 << 23
"""How many activations are copied at a time when many examples enter at once."""

_ELEMENTS_IN_CACHE = 1 << 18
_FEWEST_COMPONENTS = 16
"""How many components are turned into rows at a time on a CPU, so that what is read and written stays in its cache."""

_Kept = TypeVar("_Kept")


class Entering(NamedTuple):
    """Examples of a batch that are kept from now on.

    Attributes:
        component: the component of each, as a position among the activations' components; in order.
        sequence: the sequence of each, as a position in the batch.
        place: the place that each takes among the slots of all components.
        width: how many activations each shows, at most.
    """

    component: Int64[Tensor, " examples"]
    sequence: Int64[Tensor, " examples"]
    place: Int64[Tensor, " examples"]
    width: int


class Windows(NamedTuple):
    """What some examples show.

    Attributes:
        place: the place of each.
        start: the entry of its sequence at which each begins.
        length: how many activations each shows.
        activations: the activations, padded with zeros; as many as the longest may have.
    """

    place: Int64[Tensor, " examples"]
    start: Int64[Tensor, " examples"]
    length: Int64[Tensor, " examples"]
    activations: Float32[Tensor, "examples shown"]


@dataclass(frozen=True)
class BatchRows:
    """A batch of one layer's activations.

    Attributes:
        activations: in any floating-point dtype.
        counted: the entries that count, and so may be a peak; None: all, without padding.
        lengths: how many entries each sequence has; the rest is padding and may hold anything.
        first: the first entry with a sequence's peak, right where it is above 0; None: unknown.
        peaks: the largest activation of each sequence among the entries that count.
    """

    activations: Float[Tensor, "sequences entries components"]
    counted: Bool[Tensor, "sequences entries"] | None
    lengths: Int64[Tensor, " sequences"]
    first: Int32[Tensor, "components sequences"] | None
    peaks: Float32[Tensor, "components sequences"]

    def windows(self, groups: Sequence[tuple[_Kept, Entering]]) -> Iterator[tuple[_Kept, Windows]]:
        """What the examples of some groups show, some examples at a time."""
        n_sequences, _, n_components = self.activations.shape
        n_examples = sum(len(entering.component) for _, entering in groups)
        # A row's activations lie far apart. Where many rows are asked for, it is quicker to make all of them.
        if self.activations.device.type == "cpu" and 4 * n_examples >= n_sequences * n_components:
            yield from self._from_all_rows(groups)
        else:
            yield from self._from_own_rows(groups)

    def _from_own_rows(self, groups: Sequence[tuple[_Kept, Entering]]) -> Iterator[tuple[_Kept, Windows]]:
        step = max(1, _ELEMENTS_AT_ONCE // self.activations.shape[1])
        for kept, entering in groups:
            for begin in range(0, len(entering.component), step):
                part = _part(entering, begin, begin + step)
                rows = self.activations[part.sequence, :, part.component].contiguous()
                yield kept, self._windows(part, rows, torch.arange(len(rows), dtype=torch.int64, device=rows.device))

    def _from_all_rows(self, groups: Sequence[tuple[_Kept, Entering]]) -> Iterator[tuple[_Kept, Windows]]:
        n_sequences, n_entries, n_components = self.activations.shape
        step = max(_FEWEST_COMPONENTS, _ELEMENTS_IN_CACHE // (n_sequences * n_entries))
        firsts = torch.arange(0, n_components + step, step, dtype=torch.int64, device="cpu")
        bounds = [torch.searchsorted(entering.component, firsts).tolist() for _, entering in groups]
        for number, first in enumerate(range(0, n_components, step)):
            near = self.activations[:, :, first : first + step].contiguous()  # first, or the next step is slow
            rows = near.transpose(1, 2).contiguous().view(-1, n_entries)
            for (kept, entering), bound in zip(groups, bounds, strict=True):
                part = _part(entering, bound[number], bound[number + 1])
                if len(part.component):
                    row = part.sequence * near.shape[2] + (part.component - first)
                    yield kept, self._windows(part, rows, row)

    def _windows(self, part: Entering, rows: Float[Tensor, "rows entries"], row: Int64[Tensor, " examples"]) -> Windows:
        """The windows of examples, each in its row."""
        n_entries, width = rows.shape[1], part.width
        length = self.lengths[part.sequence]
        if width >= n_entries:
            start = torch.zeros_like(length)
            shown = rows.index_select(0, row)
        else:
            start = window_start(self._first_peaks(part, rows, row), length, width)
            # Each row of this view begins one number after the row before it; no window ends after its sequence.
            every_window = rows.as_strided((rows.numel() - width + 1, width), (1, 1))
            shown = every_window.index_select(0, row * n_entries + start)
        kept = (length - start).clamp_max(width)
        shown = shown.to(torch.float32)
        if self.counted is not None:  # padding may hold anything
            entry = torch.arange(shown.shape[1], dtype=torch.int64, device=shown.device)
            shown = shown.masked_fill(entry >= kept[:, None], 0.0)
        return Windows(part.place, start, kept, shown)

    def _first_peaks(
        self, part: Entering, rows: Float[Tensor, "rows entries"], row: Int64[Tensor, " examples"]
    ) -> Int64[Tensor, " examples"]:
        """The entry of each example's peak, the first one of equal peaks."""
        if self.first is None:
            return self._searched(part, rows, row)
        first = self.first[part.component, part.sequence].to(torch.int64)
        unknown = (self.peaks[part.component, part.sequence] <= 0).nonzero()[:, 0]
        if len(unknown):
            some = Entering(part.component[unknown], part.sequence[unknown], part.place[unknown], part.width)
            first[unknown] = self._searched(some, rows, row[unknown])
        return first

    def _searched(
        self, part: Entering, rows: Float[Tensor, "rows entries"], row: Int64[Tensor, " examples"]
    ) -> Int64[Tensor, " examples"]:
        candidates = rows.index_select(0, row)
        if self.counted is not None:
            candidates = candidates.masked_fill(~self.counted[part.sequence], -torch.inf)
        if candidates.device.type != "cpu":
            return candidates.argmax(dim=1)
        wide = candidates if candidates.dtype == torch.float64 else candidates.to(torch.float32)
        return torch.from_numpy(wide.numpy().argmax(axis=1))  # several times as fast as torch's


def window_start(
    peak_entry: Int64[Tensor, " examples"], length: Int64[Tensor, " examples"], width: int
) -> Int64[Tensor, " examples"]:
    """The start of a window of `width` entries in the sequence, with two thirds before the peak if possible."""
    last_start = (length - width).clamp_min(0)
    return torch.minimum((peak_entry - 2 * width // 3).clamp_min(0), last_start)


def _part(entering: Entering, begin: int, end: int) -> Entering:
    part = slice(begin, end)
    return Entering(entering.component[part], entering.sequence[part], entering.place[part], entering.width)
