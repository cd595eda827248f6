"""The examples kept for every component: the best of a ranking, with activations, in memory that does not grow."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from neuron_explainer.collation.statistics.rank_keys import EMPTY_RANK, sequence_index_of_rank

_ELEMENTS_AT_ONCE = 1 << 23
"""How many activations are gathered at a time when many examples enter at once."""


@dataclass
class KeptExamples:
    """For every component, the `slots` best examples of some ranking, in no particular order.

    Attributes:
        rank: see `ranking`; `EMPTY_RANK` where a slot is free.
        peak: the example's largest activation.
        start: the entry (token or token pair) of its sequence at which the kept activations start.
        length: how many were kept.
        activations: from `start` on, padded with zeros.
    """

    rank: Int64[Tensor, "components slots"]
    peak: Float32[Tensor, "components slots"]
    start: Int32[Tensor, "components slots"]
    length: Int32[Tensor, "components slots"]
    activations: Float32[Tensor, "components slots width"]

    @classmethod
    def empty(cls, n_components: int, n_slots: int, width: int, device: torch.device) -> "KeptExamples":
        """No examples yet; at most `n_slots` each, of at most `width` activations."""
        return cls(
            rank=torch.full((n_components, n_slots), EMPTY_RANK, dtype=torch.int64, device=device),
            peak=torch.zeros(n_components, n_slots, device=device),
            start=torch.zeros(n_components, n_slots, dtype=torch.int32, device=device),
            length=torch.zeros(n_components, n_slots, dtype=torch.int32, device=device),
            activations=torch.zeros(n_components, n_slots, width, device=device),
        )

    def offer(
        self,
        rank: Int64[Tensor, "components sequences"],
        peaks: Float32[Tensor, "components sequences"],
        activations: Float[Tensor, "sequences entries components"],
        counted: Bool[Tensor, "sequences entries"] | None,
        lengths: Int64[Tensor, " sequences"],
    ) -> None:
        """Let a batch's sequences compete for the slots.

        Args:
            rank: each sequence's rank for each component.
            peaks: each sequence's largest activation that counts.
            activations: where the examples' activations are taken from.
            counted: the entries that may be an example's peak; None: all, and there is no padding.
            lengths: how many entries each sequence has; those beyond are padding.
        """
        n_slots = self.rank.shape[1]
        if n_slots == 0:
            return
        worst = self.rank.amin(dim=1, keepdim=True)
        rows = (rank > worst).any(dim=1).nonzero()[:, 0]
        if len(rows) == 0:
            return
        stays, enters = _divide(self.rank[rows], rank[rows])
        # Both lists are ordered by row, and each row has as many free slots as entrants: they pair up one to one.
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
            start = window_start(candidates.argmax(dim=1), length, width)  # of equals argmax gives the first
            offsets = torch.arange(width, device=values.device)
            window = values.gather(1, (start[:, None] + offsets).clamp_max_(n_entries - 1))
        kept = (length - start).clamp_max(width)
        shown = window.shape[1]
        if counted is not None:  # what lies beyond a sequence's end may be anything
            window = window.masked_fill(torch.arange(shown, device=values.device) >= kept[:, None], 0.0)
        self.activations[component, slot, :shown] = window.to(torch.float32)
        self.activations[component, slot, shown:] = 0.0
        self.start[component, slot] = start.to(torch.int32)
        self.length[component, slot] = kept.to(torch.int32)

    def merge(self, other: "KeptExamples") -> "KeptExamples":
        """The best of both. No sequence may be in both."""
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
        """The same, the best first, free slots last."""
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
    """Where a window of `width` entries starts so that two thirds of it lead up to the peak, within the sequence."""
    last_start = (length - width).clamp_min(0)
    return torch.minimum((peak_entry - 2 * width // 3).clamp_min(0), last_start)


def _divide(
    held: Int64[Tensor, "rows slots"], offered: Int64[Tensor, "rows sequences"]
) -> tuple[Bool[Tensor, "rows slots"], Bool[Tensor, "rows sequences"]]:
    """Which held examples stay and which offered ones enter, when the best `slots` of both are kept."""
    n_slots = held.shape[1]
    everything = torch.cat([held, offered], dim=1)
    best = everything.topk(n_slots, dim=1, sorted=False).indices
    chosen = torch.zeros_like(everything, dtype=torch.bool).scatter_(1, best, True)
    return chosen[:, :n_slots], chosen[:, n_slots:]
