"""One layer's file of a packed dataset, from which records are read as slices."""

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from neuron_explainer.activations.packed.layout import DatasetInfo
from neuron_explainer.activations.packed.rules import layout_problem
from neuron_explainer.activations.record_json import finite_or_none
from neuron_explainer.activations.records import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.errors import MalformedDatasetError, MalformedRecordError
from neuron_explainer.storage.tensor_views import tensor_views

_MOST_RECORD_BYTES = 256 * 2**20


class PackedLayerFile:
    """One layer's file, memory-mapped.

    Names, dtypes and shapes are checked when it is opened; values are checked with each record.

    Raises:
        MissingFileError: the file does not exist.
        MalformedDatasetError: it is not a safetensors file, or breaks a rule of the layout.
    """

    def __init__(self, path: Path, layer: int, info: DatasetInfo, token_strings: Sequence[str]) -> None:
        self.path = path
        self.layer = layer
        self.info = info
        self.token_strings = token_strings
        try:
            self._tensors = tensor_views(path)
        except ValueError as error:
            raise self._malformed(str(error)) from None
        described = {name: (array.dtype.name, array.shape) for name, array in self._tensors.items()}
        problem = layout_problem(described, info)
        if problem is None:
            record_bytes = sum(array[:1].nbytes for array in self._tensors.values())
            if record_bytes > _MOST_RECORD_BYTES:
                problem = f"one record takes {record_bytes:,} bytes, over the limit of {_MOST_RECORD_BYTES:,}"
        if problem is not None:
            raise self._malformed(problem)
        self._sequences = self._tensors["sequences"]
        self._lengths = self._tensors["sequence_lengths"]

    def record(self, index: int) -> NeuronRecord:
        """Read the record of one component.

        Args:
            index: the component; it must exist.

        Raises:
            MalformedDatasetError: the component's values are invalid.
        """
        try:
            return self._record(index)
        except MalformedRecordError as error:
            raise self._malformed(f"component {index}: {error.problem}") from None

    def _record(self, index: int) -> NeuronRecord:
        mean, variance, skewness, kurtosis = map(finite_or_none, self._tensors["moments"][index].tolist())
        boundaries = self._row("quantile_boundaries", index)
        frequency = self._row("activation_frequency", index)
        counts = self._row("histogram_counts", index)
        return NeuronRecord(
            neuron_id=NeuronId(self.layer, index),
            random_sample=self._examples("random", index),
            random_sample_by_quantile=None if boundaries is None else self._buckets(index),
            quantile_boundaries=boundaries,
            mean=mean,
            variance=variance,
            skewness=skewness,
            kurtosis=kurtosis,
            most_positive_activation_records=self._examples("top", index),
            activation_frequency=None if frequency is None else finite_or_none(frequency),
            histogram=None if counts is None else Histogram(self._row("histogram_edges", index), counts),
            source=str(self.path),
        )

    def _row(self, name: str, index: int) -> Any:
        """A component's row of a tensor, as Python numbers; None if the file lacks the tensor."""
        array = self._tensors.get(name)
        return None if array is None else array[index].tolist()

    def _buckets(self, index: int) -> list[list[ActivationRecord]]:
        n_buckets = self._tensors["quantile_sequence"].shape[1]
        return [self._examples("quantile", (index, bucket)) for bucket in range(n_buckets)]

    def _examples(self, group: str, at: int | tuple[int, int]) -> list[ActivationRecord]:
        """The examples of one kind of a component, or of one of its buckets."""
        sequences, starts, lengths = (
            self._tensors[f"{group}_{part}"][at].tolist() for part in ("sequence", "start", "length")
        )
        activations = self._tensors[f"{group}_activations"][at]
        return [
            self._example(sequence, start, length, activations[place])
            for place, (sequence, start, length) in enumerate(zip(sequences, starts, lengths, strict=True))
            if sequence != -1
        ]

    def _example(self, sequence: int, start: int, length: int, activations: Any) -> ActivationRecord:
        if not 0 <= sequence < len(self._lengths):
            raise MalformedRecordError(f"an example is from sequence {sequence}, but there are {len(self._lengths)}")
        end, sequence_length = start + length, int(self._lengths[sequence])
        if start < 0 or length < 1 or end > sequence_length or sequence_length > self.info.context_length:
            raise MalformedRecordError(
                f"an example's window, tokens {start} to {end}, exceeds its sequence of {sequence_length}"
            )
        n_activations = self.info.n_activations(length)
        if n_activations > len(activations):
            raise MalformedRecordError(f"an example of {length} tokens has {len(activations)} activations")
        ids = self._sequences[sequence, start:end].tolist()
        if min(ids) < 0 or max(ids) >= len(self.token_strings):
            raise MalformedRecordError(
                f"sequence {sequence} has a token id that is not from 0 to {len(self.token_strings) - 1}"
            )
        tokens = list(itemgetter(*ids)(self.token_strings)) if length > 1 else [self.token_strings[ids[0]]]
        return ActivationRecord(tokens, activations[:n_activations].tolist())

    def _malformed(self, problem: str) -> MalformedDatasetError:
        return MalformedDatasetError(problem, str(self.path))
