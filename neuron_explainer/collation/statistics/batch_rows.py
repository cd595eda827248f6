"""The activations of a batch by component and sequence, and the windows of them that examples show."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

_ELEMENTS_AT_ONCE = 1 << 23
"""How many activations are copied at a time when many examples enter at once."""

_ELEMENTS_IN_CACHE = 1 << 18
_FEWEST_COMPONENTS = 16
"""How many components are turned into rows at a time on a CPU, so that what is read and written stays in its cache."""


class Windows(NamedTuple):
    """What some examples show.

    Attributes:
        part: which of the examples these are.
        start: the entry of its sequence at which each begins.
        length: how many activations each shows.
        activations: the activations, padded with zeros; as many as the longest may have.
    """

    part: slice
    start: Int64[Tensor, " examples"]
    length: Int64[Tensor, " examples"]
    activations: Float32[Tensor, "examples shown"]


class _Rows(NamedTuple):
    part: slice
    rows: Float[Tensor, "rows entries"]
    row: Int64[Tensor, " examples"]


@dataclass(frozen=True)
class BatchRows:
    """A batch of one layer's activations.

    Attributes:
        activations: in any floating-point dtype.
        counted: the entries that count, and so may be a peak; None: all, without padding.
        lengths: how many entries each sequence has; the rest is padding and may hold anything.
    """

    activations: Float[Tensor, "sequences entries components"]
    counted: Bool[Tensor, "sequences entries"] | None
    lengths: Int64[Tensor, " sequences"]

    def windows(
        self, component: Int64[Tensor, " examples"], sequence: Int64[Tensor, " examples"], width: int
    ) -> Iterator[Windows]:
        """The windows of `width` activations around the peaks of sequences, some at a time.

        Args:
            component: the component of each example, as a position among the activations' components; in order.
            sequence: the sequence of each, as a position in the batch.
            width: how many activations an example shows, at most.
        """
        n_entries = self.activations.shape[1]
        for part, rows, row in self._rows(component, sequence):
            length = self.lengths[sequence[part]]
            if width >= n_entries:
                start = torch.zeros_like(length)
                shown = rows.index_select(0, row)
            else:
                start = window_start(self._first_peaks(rows, row, sequence[part]), length, width)
                # Each row of this view begins one number after the row before it; no window ends after its sequence.
                every_window = rows.as_strided((rows.numel() - width + 1, width), (1, 1))
                shown = every_window.index_select(0, row * n_entries + start)
            kept = (length - start).clamp_max(width)
            shown = shown.to(torch.float32)
            if self.counted is not None:  # padding may hold anything
                entry = torch.arange(shown.shape[1], dtype=torch.int64, device=shown.device)
                shown = shown.masked_fill(entry >= kept[:, None], 0.0)
            yield Windows(part, start, kept, shown)

    def _rows(self, component: Int64[Tensor, " examples"], sequence: Int64[Tensor, " examples"]) -> Iterator[_Rows]:
        """Parts of the examples, with the activations that they are from: one row for each component and sequence."""
        n_sequences, n_entries, n_components = self.activations.shape
        device = self.activations.device
        if device.type != "cpu" or 4 * len(component) < n_sequences * n_components:
            step = max(1, _ELEMENTS_AT_ONCE // n_entries)
            for begin in range(0, len(component), step):
                part = slice(begin, begin + step)
                rows = self.activations[sequence[part], :, component[part]].contiguous()
                yield _Rows(part, rows, torch.arange(len(rows), dtype=torch.int64, device=device))
            return
        # A row's activations lie far apart. Where many rows are asked for, it is quicker to make all of them.
        step = max(_FEWEST_COMPONENTS, _ELEMENTS_IN_CACHE // (n_sequences * n_entries))
        firsts = torch.arange(0, n_components + step, step, dtype=torch.int64, device=device)
        bounds = torch.searchsorted(component, firsts).tolist()
        for first, begin, end in zip(range(0, n_components, step), bounds, bounds[1:], strict=False):
            part = slice(begin, end)
            near = self.activations[:, :, first : first + step].contiguous()  # first, or the next step is slow
            rows = near.transpose(1, 2).contiguous()
            row = sequence[part] * rows.shape[1] + (component[part] - first)
            yield _Rows(part, rows.view(-1, n_entries), row)

    def _first_peaks(
        self,
        rows: Float[Tensor, "rows entries"],
        row: Int64[Tensor, " examples"],
        sequence: Int64[Tensor, " examples"],
    ) -> Int64[Tensor, " examples"]:
        """The entry of each example's peak, the first one of equal peaks."""
        candidates = rows.index_select(0, row)
        if self.counted is not None:
            candidates = candidates.masked_fill(~self.counted[sequence], -torch.inf)
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
