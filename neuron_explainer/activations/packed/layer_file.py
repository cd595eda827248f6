"""One layer of a packed dataset, read record by record: from its file by slices, or from arrays in memory."""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from neuron_explainer.activations.packed.layout import DatasetInfo
from neuron_explainer.activations.packed.rules import layout_problem
from neuron_explainer.activations.record_json import finite_or_none
from neuron_explainer.activations.records import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.errors import MalformedDatasetError, MalformedRecordError
from neuron_explainer.storage.tensor_views import tensor_views
from neuron_explainer.vocabulary.parsing import type_named

LAYER_KEY = "layer"
"""The name of the layer's number in the metadata of its file. Older files lack it."""
_MOST_RECORD_BYTES = 256 * 2**20


class ExampleWindow(NamedTuple):
    """An example as the arrays have it: tokens `start` to `start + length` of a sequence, and their activations."""

    sequence: int
    start: int
    length: int
    activations: NDArray[Any]


class PackedLayerReader:
    """Reads records from one layer's arrays, in memory or in a file. Values are checked when a record is read.

    Attributes:
        layer: the layer's index.
        info: the dataset.
        token_strings: the token of every id.
        sequences: token ids, (sequences, context).
        sequence_lengths: the number of tokens of each sequence.
        path: the file of the arrays; None: they are in memory.
    """

    def __init__(
        self,
        tensors: Mapping[str, NDArray[Any]],
        layer: int,
        info: DatasetInfo,
        token_strings: Sequence[str],
        path: Path | None = None,
    ) -> None:
        """`tensors` has the names, dtypes and shapes of the layout, as `PackedLayer.tensors` does."""
        self._tensors = tensors
        self.layer = layer
        self.info = info
        self.token_strings = token_strings
        self.path = path
        self.dst = type_named(info.derived_scalar_type)
        self.sequences = tensors["sequences"]
        self.sequence_lengths = tensors["sequence_lengths"]

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The layer's arrays by their names in the layout. Names, dtypes and shapes are checked, values are not."""
        return self._tensors

    def record(self, index: int) -> NeuronRecord:
        """The record of one component; the index must be valid.

        Raises:
            MalformedDatasetError: the arrays have invalid values for it.
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
            source=None if self.path is None else str(self.path),
            dst=self.dst,
        )

    def _row(self, name: str, index: int) -> Any:
        """A component's row of a tensor, as Python numbers; None if the file lacks the tensor."""
        array = self._tensors.get(name)
        return None if array is None else array[index].tolist()

    def _buckets(self, index: int) -> list[list[ActivationRecord]]:
        return [self._examples("quantile", at) for at in self._rows_of("quantile", index)]

    def windows(self, index: int) -> dict[str, list[ExampleWindow]]:
        """A component's examples by kind: "top", "random" and perhaps "quantile" (those of all buckets).

        Raises:
            MalformedDatasetError: a window does not lie within its sequence.
        """
        kinds = [kind for kind in ("top", "random", "quantile") if f"{kind}_sequence" in self._tensors]
        try:
            return {
                kind: [window for at in self._rows_of(kind, index) for window in self._windows(kind, at)]
                for kind in kinds
            }
        except MalformedRecordError as error:
            raise self._malformed(f"component {index}: {error.problem}") from None

    def _rows_of(self, kind: str, index: int) -> list[int | tuple[int, int]]:
        """The array rows with a component's examples of one kind: one row, or one for each bucket."""
        if kind != "quantile":
            return [index]
        return [(index, bucket) for bucket in range(self._tensors["quantile_sequence"].shape[1])]

    def _windows(self, group: str, at: int | tuple[int, int]) -> Iterator[ExampleWindow]:
        """A component's examples of one kind, or of one bucket of that kind."""
        sequences, starts, lengths = (
            self._tensors[f"{group}_{part}"][at].tolist() for part in ("sequence", "start", "length")
        )
        activations = self._tensors[f"{group}_activations"][at]
        for slot, (sequence, start, length) in enumerate(zip(sequences, starts, lengths, strict=True)):
            if sequence != -1:
                yield self._window(sequence, start, length, activations[slot])

    def _window(self, sequence: int, start: int, length: int, activations: NDArray[Any]) -> ExampleWindow:
        if not 0 <= sequence < len(self.sequence_lengths):
            raise MalformedRecordError(
                f"an example is from sequence {sequence}, but there are {len(self.sequence_lengths)} sequences"
            )
        end, sequence_length = start + length, int(self.sequence_lengths[sequence])
        if start < 0 or length < 1 or end > sequence_length or sequence_length > self.info.context_length:
            raise MalformedRecordError(
                f"an example's window, tokens {start} to {end}, exceeds its sequence of {sequence_length}"
            )
        n_activations = self.info.n_activations(length)
        if n_activations > len(activations):
            raise MalformedRecordError(
                f"an example has too few activations ({len(activations)}) for its number of tokens ({length})"
            )
        return ExampleWindow(sequence, start, length, activations[:n_activations])

    def _examples(self, group: str, at: int | tuple[int, int]) -> list[ActivationRecord]:
        return [self._example(window) for window in self._windows(group, at)]

    def _example(self, window: ExampleWindow) -> ActivationRecord:
        ids = self.sequences[window.sequence, window.start : window.start + window.length].tolist()
        if min(ids) < 0 or max(ids) >= len(self.token_strings):
            raise MalformedRecordError(
                f"sequence {window.sequence} has a token id that is not from 0 to {len(self.token_strings) - 1}"
            )
        tokens = list(itemgetter(*ids)(self.token_strings)) if len(ids) > 1 else [self.token_strings[ids[0]]]
        return ActivationRecord(tokens, window.activations.tolist())

    def _malformed(self, problem: str) -> MalformedDatasetError:
        return MalformedDatasetError(problem, str(self.path or "arrays in memory"))


class PackedLayerFile(PackedLayerReader):
    """One layer's file, memory-mapped. Names, dtypes and shapes are checked when it is opened."""

    def __init__(self, path: Path, layer: int, info: DatasetInfo, token_strings: Sequence[str]) -> None:
        """Open the file.

        Raises:
            MalformedDatasetError: the file is not a safetensors file, its tensors do not have the layout's form, or it
                says that it is of another layer.
        """
        try:
            tensors, metadata = tensor_views(path)
        except ValueError as error:
            raise MalformedDatasetError(str(error), str(path)) from None
        written_for = metadata.get(LAYER_KEY)
        if written_for not in (None, str(layer)):
            raise MalformedDatasetError(f"it is the file of layer {written_for:.20}, not of layer {layer}", str(path))
        problem = layout_problem({name: (array.dtype.name, array.shape) for name, array in tensors.items()}, info)
        if problem is None:
            record_bytes = sum(array[:1].nbytes for array in tensors.values())
            if record_bytes > _MOST_RECORD_BYTES:
                problem = f"one record takes {record_bytes:,} bytes, over the limit of {_MOST_RECORD_BYTES:,}"
        if problem is not None:
            raise MalformedDatasetError(problem, str(path))
        super().__init__(tensors, layer, info, token_strings, path)
