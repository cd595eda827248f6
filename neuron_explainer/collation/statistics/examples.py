"""The examples kept for each component: those with the highest ranks, with activations, in memory of fixed size."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from neuron_explainer.collation.statistics.rank_keys import EMPTY_RANK, sequence_index_of_rank

_ELEMENTS_AT_ONCE = 1 << 23
"""How many activations are copied at a time when many examples enter at once."""


@dataclass
class KeptExamples:
    """For each component, the examples with the highest ranks, in no particular order.

    Attributes:
        rank: see `rank_keys`; `EMPTY_RANK` for a free slot.
        peak: the example's largest activation.
        start: the entry (token or token pair) of the sequence at which the kept activations start.
        length: how many activations are kept.
        activations: the activations from `start` on, padded with zeros.
    """

    rank: Int64[Tensor, "components slots"]
    peak: Float32[Tensor, "components slots"]
    start: Int32[Tensor, "components slots"]
    length: Int32[Tensor, "components slots"]
    activations: Float32[Tensor, "components slots width"]

    @classmethod
    def empty(cls, n_components: int, n_slots: int, width: int, device: torch.device) -> "KeptExamples":
        """No examples yet; room for `n_slots` of each component, with at most `width` activations."""
        return cls(
            rank=torch.full((n_components, n_slots), EMPTY_RANK, dtype=torch.int64, device=device),
            peak=torch.zeros(n_components, n_slots, dtype=torch.float32, device=device),
            start=torch.zeros(n_components, n_slots, dtype=torch.int32, device=device),
            length=torch.zeros(n_components, n_slots, dtype=torch.int32, device=device),
            activations=torch.zeros(n_components, n_slots, width, dtype=torch.float32, device=device),
        )

    def offer(
        self,
        rank: Int64[Tensor, "components sequences"],
        peaks: Float32[Tensor, "components sequences"],
        activations: Float[Tensor, "sequences entries components"],
        counted: Bool[Tensor, "sequences entries"] | None,
        lengths: Int64[Tensor, " sequences"],
    ) -> None:
        """Keep the examples of a batch that rank higher than kept ones.

        Args:
            rank: each sequence's rank for each component.
            peaks: the largest activation of each sequence among the entries that count.
            activations: the activations of the batch.
            counted: the entries that count, and so may be a peak; None: all, without padding.
            lengths: how many entries each sequence has; the rest is padding.
        """
        n_slots = self.rank.shape[1]
        if n_slots == 0:
            return
        worst = self.rank.amin(dim=1, keepdim=True)
        rows = (rank > worst).any(dim=1).nonzero()[:, 0]
        if len(rows) == 0:
            return
        stays, enters = _divide(self.rank[rows], rank[rows])
        # Both lists are ordered by row, and each row has as many free slots as new examples: they match one to one.
        free_row, free_slot = (~stays).nonzero(as_tuple=True)
        new_row, sequence = enters.nonzero(as_tuple=True)
        real = rank[rows][new_row, sequence] != EMPTY_RANK
        component, slot, sequence = rows[free_row][real], free_slot[real], sequence[real]
        self.rank[component, slot] = rank[component, sequence]
        self.peak[component, slot] = peaks[component, sequence]
        step = max(1, _ELEMENTS_AT_ONCE // activations.shape[1])
        for begin in range(0, len(component), step):
            part = slice(begin, begin + step)
            self._copy_in(component[part], slot[part], sequence[part], activations, counted, lengths)

    def _copy_in(
        self,
        component: Int64[Tensor, " examples"],
        slot: Int64[Tensor, " examples"],
        sequence: Int64[Tensor, " examples"],
        activations: Float[Tensor, "sequences entries components"],
        counted: Bool[Tensor, "sequences entries"] | None,
        lengths: Int64[Tensor, " sequences"],
    ) -> None:
        values = activations[sequence, :, component]
        n_entries, width = values.shape[1], self.activations.shape[2]
        length = lengths[sequence]
        if width >= n_entries:
            start = torch.zeros_like(length)
            window = values
        else:
            candidates = values if counted is None else values.masked_fill(~counted[sequence], -torch.inf)
            start = window_start(candidates.argmax(dim=1), length, width)  # argmax gives the first of equal peaks
            offsets = torch.arange(width, device=values.device)
            window = values.gather(1, (start[:, None] + offsets).clamp_max_(n_entries - 1))
        kept = (length - start).clamp_max(width)
        shown = window.shape[1]
        if counted is not None:  # padding may hold anything
            window = window.masked_fill(torch.arange(shown, device=values.device) >= kept[:, None], 0.0)
        self.activations[component, slot, :shown] = window.to(torch.float32)
        self.activations[component, slot, shown:] = 0.0
        self.start[component, slot] = start.to(torch.int32)
        self.length[component, slot] = kept.to(torch.int32)

    def merge(self, other: "KeptExamples") -> "KeptExamples":
        """The highest-ranked examples of both; no sequence may be in both."""
        n_slots = self.rank.shape[1]
        rank = torch.cat([self.rank, other.rank], dim=1)
        chosen = rank.topk(n_slots, dim=1).indices

        def pick(mine: Tensor, others: Tensor) -> Tensor:
            return torch.cat([mine, others], dim=1).gather(1, chosen)

        wide = chosen[:, :, None].expand(-1, -1, self.activations.shape[2])
        return KeptExamples(
            rank=rank.gather(1, chosen),
            peak=pick(self.peak, other.peak),
            start=pick(self.start, other.start),
            length=pick(self.length, other.length),
            activations=torch.cat([self.activations, other.activations], dim=1).gather(1, wide),
        )

    def in_order(self) -> "KeptExamples":
        """The same examples, the highest rank first, free slots last."""
        rank, order = self.rank.sort(dim=1, descending=True)
        wide = order[:, :, None].expand(-1, -1, self.activations.shape[2])
        return KeptExamples(
            rank=rank,
            peak=self.peak.gather(1, order),
            start=self.start.gather(1, order),
            length=self.length.gather(1, order),
            activations=self.activations.gather(1, wide),
        )

    def sequence_index(self) -> Int64[Tensor, "components slots"]:
        """The number of each example's sequence; -1 for a free slot."""
        return sequence_index_of_rank(self.rank)


def window_start(
    peak_entry: Int64[Tensor, " examples"], length: Int64[Tensor, " examples"], width: int
) -> Int64[Tensor, " examples"]:
    """The start of a window of `width` entries in the sequence, with two thirds before the peak if possible."""
    last_start = (length - width).clamp_min(0)
    return torch.minimum((peak_entry - 2 * width // 3).clamp_min(0), last_start)


def _divide(
    held: Int64[Tensor, "rows slots"], offered: Int64[Tensor, "rows sequences"]
) -> tuple[Bool[Tensor, "rows slots"], Bool[Tensor, "rows sequences"]]:
    """Which kept examples stay and which offered ones enter, when the highest `slots` ranks of both are kept."""
    n_slots = held.shape[1]
    everything = torch.cat([held, offered], dim=1)
    best = everything.topk(n_slots, dim=1, sorted=False).indices
    chosen = torch.zeros_like(everything, dtype=torch.bool).scatter_(1, best, True)
    return chosen[:, :n_slots], chosen[:, n_slots:]
