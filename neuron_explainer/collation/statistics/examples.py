"""The examples kept for each component: those with the highest ranks, with activations, in memory of fixed size."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64
from torch import Tensor

from neuron_explainer.collation.statistics.batch_rows import Entering, Windows
from neuron_explainer.collation.statistics.rank_keys import EMPTY_RANK, sequence_index_of_rank


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

    def enter(
        self, rank: Int64[Tensor, "components sequences"], peaks: Float32[Tensor, "components sequences"]
    ) -> Entering:
        """Keep the examples of a batch that rank higher than kept ones. `show` then has to set what they show.

        Args:
            rank: each sequence's rank for each component.
            peaks: the largest activation of each sequence among the entries that count.
        """
        n_slots, n_sequences = self.rank.shape[1], rank.shape[1]
        width = self.activations.shape[2]
        none = rank.new_empty(0)
        if n_slots == 0:
            return Entering(none, none, none, width)
        worst = self.rank.amin(dim=1, keepdim=True)
        rows = (rank > worst).any(dim=1).nonzero()[:, 0]
        if len(rows) == 0:
            return Entering(none, none, none, width)
        stays, enters = _divide(self.rank[rows], rank[rows])
        # Both lists are ordered by row, and each row has as many free slots as new examples: they match one to one.
        free_row, free_slot = (~stays).nonzero(as_tuple=True)
        component = rows[free_row]
        sequence = enters.nonzero()[:, 1]
        place, offered = component * n_slots + free_slot, component * n_sequences + sequence
        new_rank = rank.reshape(-1)[offered]
        real = new_rank != EMPTY_RANK
        if not bool(real.all()):
            component, sequence, place, offered, new_rank = (
                each[real] for each in (component, sequence, place, offered, new_rank)
            )
        self.rank.view(-1).index_copy_(0, place, new_rank)
        self.peak.view(-1).index_copy_(0, place, peaks.reshape(-1)[offered])
        return Entering(component, sequence, place, width)

    def show(self, windows: Windows) -> None:
        """Set what examples that entered show."""
        width, shown = self.activations.shape[2], windows.activations.shape[1]
        self.start.view(-1).index_copy_(0, windows.place, windows.start.to(torch.int32))
        self.length.view(-1).index_copy_(0, windows.place, windows.length.to(torch.int32))
        activations = self.activations.view(-1, width)
        if shown == width:
            activations.index_copy_(0, windows.place, windows.activations)
        else:
            activations[windows.place, :shown] = windows.activations
            activations[windows.place, shown:] = 0.0

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
        n_components, n_slots, width = self.activations.shape
        first = torch.arange(n_components, dtype=torch.int64, device=order.device)[:, None] * n_slots
        places = (first + order).view(-1)
        return KeptExamples(
            rank=rank,
            peak=self.peak.gather(1, order),
            start=self.start.gather(1, order),
            length=self.length.gather(1, order),
            activations=self.activations.view(-1, width).index_select(0, places).view_as(self.activations),
        )

    def sequence_index(self) -> Int64[Tensor, "components slots"]:
        """The number of each example's sequence; -1 for a free slot."""
        return sequence_index_of_rank(self.rank)


def _divide(
    held: Int64[Tensor, "rows slots"], offered: Int64[Tensor, "rows sequences"]
) -> tuple[Bool[Tensor, "rows slots"], Bool[Tensor, "rows sequences"]]:
    """Which kept examples stay and which offered ones enter, when the highest `slots` ranks of both are kept."""
    n_slots = held.shape[1]
    everything = torch.cat([held, offered], dim=1)
    if everything.device.type == "cpu":
        least = torch.from_numpy(np.sort(everything.numpy(), axis=1)[:, -n_slots, None])  # quicker than topk
        if bool((least != EMPTY_RANK).all()):  # else several have the same rank
            return held >= least, offered >= least
    best = everything.topk(n_slots, dim=1, sorted=False).indices
    chosen = torch.zeros_like(everything, dtype=torch.bool).scatter_(1, best, True)
    return chosen[:, :n_slots], chosen[:, n_slots:]
