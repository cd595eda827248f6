"""The statistics and examples of the components of one layer."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neuron_explainer.collation.statistics.batch_rows import BatchRows
from neuron_explainer.collation.statistics.examples import KeptExamples
from neuron_explainer.collation.statistics.histogram import RunningHistogram
from neuron_explainer.collation.statistics.moments import Moments, PowerSums
from neuron_explainer.collation.statistics.rank_keys import rank_of_chance, rank_of_score
from neuron_explainer.collation.statistics.scratch import Scratch
from neuron_explainer.collation.statistics.tiles import CountedValues, Extremes
from neuron_explainer.errors import NonFiniteActivationError


@dataclass
class LayerState:
    """The statistics and examples of one layer's components so far.

    The states of two disjoint sets of sequences merge into the state of both, exactly except for the rounding of
    moments. The random sample depends on `layer`, `component` and `seed`.

    Attributes:
        layer: the layer's index.
        component: the components' indices; a state may cover some of a layer's components.
        seed: seed of the random sample.
        active: how many values were above 0.
        top: the examples with the highest peaks.
        sample: a random sample of sequences.
    """

    layer: int
    component: Int64[Tensor, " components"]
    seed: int
    moments: Moments
    histogram: RunningHistogram
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
        n_bins: int,
    ) -> "LayerState":
        """No sequences yet.

        Args:
            layer: the layer's index.
            component: the components' indices, on the activations' device.
            seed: seed of the random sample.
            n_top, n_sample: how many examples are kept for each component.
            top_width, sample_width: how many of an example's activations are kept, at most.
            n_bins: how many bins the histograms have.
        """
        device, n_components = component.device, len(component)
        return cls(
            layer=layer,
            component=component,
            seed=seed,
            moments=Moments.empty(n_components, device),
            histogram=RunningHistogram.empty(n_components, n_bins, device),
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
        """Add a batch of sequences.

        Args:
            activations: in any floating-point dtype. Blocks are summed in float64 if it is float64, else in float32;
                ranks are in float32.
            counted: the entries that count, at least one for each sequence.
            lengths: how many entries each sequence has; the rest is padding and may hold anything.
            sequence_index: the numbers of the sequences, all new to this state.

        Raises:
            NonFiniteActivationError: a counted activation is infinite or not a number. The state must not be used any
                more.
        """
        n_counted = int(counted.sum())
        not_all = None if n_counted == counted.numel() else counted
        values = CountedValues(activations, not_all, n_counted, Scratch(activations.device))
        extremes = self._update_statistics(values, sequence_index)
        peaks = extremes.peaks.T.contiguous()
        entering = [(self.top, self.top.enter(rank_of_score(peaks, sequence_index), peaks))]
        if self.sample.rank.shape[1]:
            chance = rank_of_chance(self.seed, self.layer, self.component, sequence_index)
            entering.append((self.sample, self.sample.enter(chance, peaks)))
        batch = BatchRows(activations, not_all, lengths, None if extremes.first is None else extremes.first.T, peaks)
        for kept, windows in batch.windows(entering):
            kept.show(windows)

    def _update_statistics(self, values: CountedValues, sequence_index: Int64[Tensor, " sequences"]) -> Extremes:
        """Update moments, histogram and frequency."""
        extremes = values.extremes()
        lowest, highest = extremes.lowest, extremes.peaks.amax(dim=0)
        if not bool((lowest.isfinite() & highest.isfinite()).all()):
            self._raise_non_finite(values.whole(), sequence_index)
        self.histogram.make_room(lowest, highest)
        has_mean = bool(self.moments.count.any())
        centre = self.moments.mean if has_mean else values.mean_of_some()
        sums = PowerSums(centre, lowest, highest, values.dtype, values.n_counted)
        n_sequences, n_entries, _ = values.activations.shape
        for components, tiles in values.by_components():
            some, histogram = sums.of(components), self.histogram.of(components)
            n_values = (n_sequences * n_entries, len(histogram.counts))
            places, of_histogram = values.scratch.take("places", n_values, torch.int32), histogram.places_of()
            n_done = 0
            for block, not_counted in tiles:
                some.add(block, not_counted, values.scratch)
                in_rows = block.flatten(0, 1).to(torch.float32)
                of_histogram.find(in_rows, values.scratch, out=places[n_done : n_done + len(in_rows)])
                n_done += len(in_rows)
            histogram.add(places)
        if values.counted is not None:  # the histogram has the stand-ins, too
            stand_ins = self.histogram.places_of().find(values.stand_ins.to(torch.float32), values.scratch)
            self.histogram.remove(stand_ins, values.n_replaced())
        self.active += sums.n_above()
        self.moments = self.moments.merge(sums.moments())
        return extremes

    def _raise_non_finite(
        self,
        values: Float[Tensor, "sequences entries components"],
        sequence_index: Int64[Tensor, " sequences"],
    ) -> None:
        sequence, entry, component = (~values.to(torch.float32).isfinite()).nonzero()[0].tolist()
        raise NonFiniteActivationError(
            layer=self.layer,
            component=int(self.component[component]),
            sequence_index=int(sequence_index[sequence]),
            entry=entry,
            value=float(values[sequence, entry, component]),
        )

    def merge(self, other: "LayerState") -> "LayerState":
        """The state of the sequences of both; they must be disjoint."""
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
        """Everything but layer and seed as named tensors, for the saved state."""
        named = {"component": self.component, "active": self.active}
        for part in ("moments", "histogram", "top", "sample"):
            accumulator = getattr(self, part)
            named |= {f"{part}.{field.name}": getattr(accumulator, field.name) for field in fields(accumulator)}
        return named

    @classmethod
    def from_tensors(cls, layer: int, seed: int, named: dict[str, Tensor]) -> "LayerState":
        """The state that has these `tensors`."""

        def part(kind: type, name: str) -> object:
            return kind(**{field.name: named[f"{name}.{field.name}"] for field in fields(kind)})

        return cls(
            layer=layer,
            component=named["component"],
            seed=seed,
            moments=part(Moments, "moments"),  # type: ignore[arg-type]
            histogram=part(RunningHistogram, "histogram"),  # type: ignore[arg-type]
            active=named["active"],
            top=part(KeptExamples, "top"),  # type: ignore[arg-type]
            sample=part(KeptExamples, "sample"),  # type: ignore[arg-type]
        )
