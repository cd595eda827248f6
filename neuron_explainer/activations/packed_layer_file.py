"""One layer's file of a packed dataset, open for reading records from it by slices."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from neuron_explainer.activations.packed_layout import DatasetInfo, PackedExamples, example_problem, layout_problem
from neuron_explainer.activations.records import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.errors import MalformedDatasetError, MalformedRecordError

_MOST_RECORD_BYTES = 256 * 2**20
_DTYPE_BY_SAFETENSORS_NAME = {
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}


class PackedLayerFile:
    """One layer's file, memory-mapped, its names, dtypes and shapes checked."""

    def __init__(self, path: Path, layer: int, info: DatasetInfo) -> None:
        self.path = path
        self.layer = layer
        self.info = info
        try:
            self._file = safe_open(path, framework="numpy")
            self._slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118
            self._described = {
                name: (_DTYPE_BY_SAFETENSORS_NAME.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape()))
                for name, part in self._slices.items()
            }
            problem = layout_problem(self._described, info) or self._size_problem()
            if problem is None:
                self._sequence_lengths = self._slices["sequence_lengths"][:]
        except (SafetensorError, OSError, ValueError) as error:
            problem = str(error)
        if problem is not None:
            raise MalformedDatasetError(problem, str(path))

    def _size_problem(self) -> str | None:
        sizes = (
            float(np.prod(shape[1:], dtype=np.float64)) * np.dtype(dtype).itemsize
            for name, (dtype, shape) in self._described.items()
            if name in self._slices and dtype in _DTYPE_BY_SAFETENSORS_NAME.values()
        )
        total = sum(sizes)
        return f"one record takes {total:,.0f} bytes" if total > _MOST_RECORD_BYTES else None

    def record(self, index: int, token_strings: list[str]) -> NeuronRecord:
        """The record of one component, whose index is one; the tokens by id are the dataset's.

        Raises:
            MalformedDatasetError: what the file says of it is not sound.
        """
        mean, variance, skewness, kurtosis = (_known(value) for value in self._row("moments", index))
        quantile = self._examples("quantile", index, token_strings) if "quantile_sequence" in self._slices else None
        frequency = self._row("activation_frequency", index) if "activation_frequency" in self._slices else None
        histogram = None
        try:
            if "histogram_counts" in self._slices:
                histogram = Histogram(
                    edges=self._row("histogram_edges", index).tolist(),
                    counts=self._row("histogram_counts", index).tolist(),
                )
            return NeuronRecord(
                neuron_id=NeuronId(self.layer, index),
                random_sample=self._examples("random", index, token_strings)[0],
                random_sample_by_quantile=quantile,
                quantile_boundaries=None if quantile is None else self._row("quantile_boundaries", index).tolist(),
                mean=mean,
                variance=variance,
                skewness=skewness,
                kurtosis=kurtosis,
                most_positive_activation_records=self._examples("top", index, token_strings)[0],
                activation_frequency=None if frequency is None else _known(frequency),
                histogram=histogram,
                source=str(self.path),
            )
        except MalformedRecordError as error:
            raise MalformedDatasetError(f"component {index}: {error.problem}", str(self.path)) from None

    def _row(self, name: str, index: int) -> Any:
        return self._slices[name][index : index + 1][0]

    def _examples(self, group: str, index: int, token_strings: list[str]) -> list[list[ActivationRecord]]:
        """The examples of one kind, one list a bucket; top and random ones are one bucket."""
        examples = PackedExamples(
            *(self._row(f"{group}_{part}", index) for part in ("sequence", "start", "length", "activations"))
        )
        problem = example_problem(examples, self._sequence_lengths, self.info)
        if problem is not None:
            raise MalformedDatasetError(f"component {index}, {group}: {problem}", str(self.path))
        if group != "quantile":
            examples = PackedExamples(
                examples.sequence[None], examples.start[None], examples.length[None], examples.activations[None]
            )
        return [
            [
                self._example(int(sequence), int(start), int(length), activations, token_strings)
                for sequence, start, length, activations in zip(*bucket, strict=True)
                if sequence != -1
            ]
            for bucket in zip(examples.sequence, examples.start, examples.length, examples.activations, strict=True)
        ]

    def _example(
        self, sequence: int, start: int, length: int, activations: Any, token_strings: list[str]
    ) -> ActivationRecord:
        ids = self._slices["sequences"][sequence : sequence + 1, start : start + length][0].tolist()
        if ids and (min(ids) < 0 or max(ids) >= len(token_strings)):
            raise MalformedDatasetError(
                f"sequence {sequence} holds a token id that is not one of the {len(token_strings)}", str(self.path)
            )
        return ActivationRecord(
            tokens=[token_strings[token] for token in ids],
            activations=activations[: self.info.n_activations(length)].tolist(),
        )


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
