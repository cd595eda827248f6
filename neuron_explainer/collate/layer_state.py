"""Everything that is accumulated about the components of one layer."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from neuron_explainer.collate.examples import KeptExamples
from neuron_explainer.collate.histogram import Histogram
from neuron_explainer.collate.moments import Moments
from neuron_explainer.collate.ranking import rank_of_chance, rank_of_score
from neuron_explainer.errors import NonFiniteActivationError

_ELEMENTS_IN_CACHE = 1 << 18
"""How many activations are worked on at a time on a CPU, so that the ten passes over them stay in its cache."""

_ELEMENTS_ON_ACCELERATOR = 1 << 26

_ENTRIES_IN_FLOAT32 = 256
"""How many values are summed in float32 before float64 takes over."""


@dataclass
class LayerState:
    """The statistics and examples of one layer's components, so far.

    Two states of different sequences merge into the state of all of them: exactly, but for the rounding of moments.

    Attributes:
        layer: part of what the random sample depends on.
        component: the components' own numbers, likewise (a state may cover some of a layer's components).
        seed: likewise.
        active: how many values were above 0.
        top: the examples with the largest peaks.
        sample: a random sample of sequences.
    """

    layer: int
    component: Int64[Tensor, " components"]
    seed: int
    moments: Moments
    histogram: Histogram
    active: Int64[Tensor, " components"]
    top: KeptExamples
    sample: KeptExamples

    @classmethod
    def empty(
        cls,
        *,
        layer: int,
        component: Int64[Tensor, " components"],
        seed: int,
        n_top: int,
        n_sample: int,
        top_width: int,
        sample_width: int,
        n_cells: int,
    ) -> "LayerState":
        """No sequences yet.

        Args:
            layer: the layer's index.
            component: the components' numbers, on the device that the activations will be on.
            seed: of the random samples.
            n_top, n_sample: how many examples are kept for each component.
            top_width, sample_width: how many of an example's activations are kept at most.
            n_cells: how many cells the histograms have.
        """
        device, n_components = component.device, len(component)
        return cls(
            layer=layer,
            component=component,
            seed=seed,
            moments=Moments.empty(n_components, device),
            histogram=Histogram.empty(n_components, n_cells, device),
            active=torch.zeros(n_components, dtype=torch.int64, device=device),
            top=KeptExamples.empty(n_components, n_top, top_width, device),
            sample=KeptExamples.empty(n_components, n_sample, sample_width, device),
        )

    def update(
        self,
        activations: Float[Tensor, "sequences entries components"],
        counted: Bool[Tensor, "sequences entries"],
        lengths: Int64[Tensor, " sequences"],
        sequence_index: Int64[Tensor, " sequences"],
    ) -> None:
        """Take in a batch of sequences.

        Args:
            activations: in any floating dtype; moments are formed in float64 if it is that, ranks in float32.
            counted: the entries that count; every sequence has one at least.
            lengths: how many entries each sequence has; those beyond are padding and may hold anything.
            sequence_index: the sequences' numbers, none of which this state has seen.

        Raises:
            NonFiniteActivationError: a counted activation is infinite or not a number. The state is unchanged for the
                examples, but must not be used further.
        """
        peaks = self._update_statistics(activations, counted, sequence_index)
        self.top.offer(rank_of_score(peaks, sequence_index), activations, counted, lengths)
        if self.sample.rank.shape[1]:
            chance = rank_of_chance(self.seed, self.layer, self.component, sequence_index)
            self.sample.offer(chance, activations, counted, lengths)

    def _update_statistics(
        self,
        activations: Float[Tensor, "sequences entries components"],
        counted: Bool[Tensor, "sequences entries"],
        sequence_index: Int64[Tensor, " sequences"],
    ) -> Float32[Tensor, "components sequences"]:
        """Moments, histogram, frequency; returns every sequence's largest activation for every component."""
        n_sequences, n_entries, n_components = activations.shape
        budget = _ELEMENTS_IN_CACHE if activations.device.type == "cpu" else _ELEMENTS_ON_ACCELERATOR
        step = max(1, budget // (n_entries * n_components))
        # One look at the mask for the whole batch: on an accelerator each look is a wait.
        all_counted = counted.all(dim=1).tolist()
        peaks = []
        for begin in range(0, n_sequences, step):
            part = slice(begin, begin + step)
            values, mask = activations[part], counted[part]
            values = values if values.dtype == torch.float64 else values.to(torch.float32)
            full = all(all_counted[part])
            if not full:
                # Whatever does not count is replaced by a value of the same sequence that does.
                first = mask.to(torch.uint8).argmax(dim=1)
                stand_in = values[torch.arange(len(values), device=values.device), first]
                values = torch.where(mask[:, :, None], values, stand_in[:, None, :])
            highest = values.amax(dim=1)
            self._add(values, mask, full, highest, sequence_index[part])
            peaks.append(highest.to(torch.float32))
        return torch.cat(peaks).T.contiguous()

    def _add(
        self,
        values: Float[Tensor, "sequences entries components"],
        mask: Bool[Tensor, "sequences entries"],
        full: bool,
        highest_by_sequence: Float[Tensor, "sequences components"],
        sequence_index: Int64[Tensor, " sequences"],
    ) -> None:
        lowest, highest = values.amin(dim=(0, 1)), highest_by_sequence.amax(dim=0)
        if not bool((lowest - lowest + highest - highest == 0).all()):
            self._refuse_non_finite(values, sequence_index)
        self.histogram.make_room(lowest.to(torch.float32), highest.to(torch.float32))
        self.histogram.add((values.flatten(0, 1) if full else values[mask]).to(torch.float32))
        blocks, weights = _blocks(values, mask)
        centre = torch.where(self.moments.count > 0, self.moments.mean, blocks.mean(dim=(0, 1)).double())
        self.moments = self.moments.merge(Moments.of_blocks(blocks, weights, lowest, highest, centre))
        above_zero = torch.gt(blocks, 0).to(blocks.dtype)
        self.active += torch.bmm(weights, above_zero).sum((0, 1), dtype=torch.float64).to(torch.int64)

    def _refuse_non_finite(
        self,
        values: Float[Tensor, "sequences entries components"],
        sequence_index: Int64[Tensor, " sequences"],
    ) -> None:
        sequence, entry, component = (~values.isfinite()).nonzero()[0].tolist()
        raise NonFiniteActivationError(
            layer=self.layer,
            component=int(self.component[component]),
            sequence_index=int(sequence_index[sequence]),
            entry=entry,
            value=float(values[sequence, entry, component]),
        )

    def merge(self, other: "LayerState") -> "LayerState":
        """The state of both states' sequences; no sequence may be in both."""
        return LayerState(
            layer=self.layer,
            component=self.component,
            seed=self.seed,
            moments=self.moments.merge(other.moments),
            histogram=self.histogram.merge(other.histogram),
            active=self.active + other.active,
            top=self.top.merge(other.top),
            sample=self.sample.merge(other.sample),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything but layer and seed, by name: what a checkpoint holds."""
        named = {"component": self.component, "active": self.active}
        for part in ("moments", "histogram", "top", "sample"):
            accumulator = getattr(self, part)
            named |= {f"{part}.{field.name}": getattr(accumulator, field.name) for field in fields(accumulator)}
        return named

    @classmethod
    def from_tensors(cls, layer: int, seed: int, named: dict[str, Tensor]) -> "LayerState":
        """The state whose `tensors` these are."""

        def part(kind: type, name: str) -> object:
            return kind(**{field.name: named[f"{name}.{field.name}"] for field in fields(kind)})

        return cls(
            layer=layer,
            component=named["component"],
            seed=seed,
            moments=part(Moments, "moments"),  # type: ignore[arg-type]
            histogram=part(Histogram, "histogram"),  # type: ignore[arg-type]
            active=named["active"],
            top=part(KeptExamples, "top"),  # type: ignore[arg-type]
            sample=part(KeptExamples, "sample"),  # type: ignore[arg-type]
        )


def _blocks(
    values: Float[Tensor, "sequences entries components"], mask: Bool[Tensor, "sequences entries"]
) -> tuple[Float[Tensor, "blocks block_entries components"], Float[Tensor, "blocks 1 block_entries"]]:
    """The values and their weights in pieces short enough to be summed in float32."""
    n_sequences, n_entries, n_components = values.shape
    weights = mask.to(values.dtype)
    if n_entries > _ENTRIES_IN_FLOAT32:
        padding = -n_entries % _ENTRIES_IN_FLOAT32
        if padding:
            values = torch.cat([values, values[:, -1:].expand(-1, padding, -1)], dim=1)
            weights = torch.cat([weights, weights.new_zeros(n_sequences, padding)], dim=1)
        values = values.reshape(-1, _ENTRIES_IN_FLOAT32, n_components)
        weights = weights.reshape(-1, _ENTRIES_IN_FLOAT32)
    return values, weights[:, None, :]
