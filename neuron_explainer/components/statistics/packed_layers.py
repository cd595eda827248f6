"""The statistics of all components of a packed dataset's layer, read as whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.attention_utils import pairs
from neuron_explainer.activations.packed.layer_file import PackedLayerReader
from neuron_explainer.activations.packed.layout import MOMENTS, PackedExamples
from neuron_explainer.activations.packed.rules import example_problem
from neuron_explainer.errors import MalformedDatasetError

_AT_ONCE = 4096  # components, so that activations in float32 take some tens of megabytes


def columns_of_layer(reader: PackedLayerReader) -> dict[str, Any]:
    """The columns of `dataset_statistics` that the arrays have, by component.

    Raises:
        MalformedDatasetError: the arrays have values that contradict each other.
    """
    moments = np.asarray(_array(reader, "moments"), dtype=np.float64)
    moments = np.where(np.isfinite(moments), moments, np.nan)
    columns: dict[str, Any] = {name: moments[:, place] for place, name in enumerate(MOMENTS)}
    variance = columns["variance"]
    columns["standard_deviation"] = np.sqrt(np.where(variance >= 0, variance, np.nan))
    frequency = reader.arrays.get("activation_frequency")
    unknown = np.full(len(moments), np.nan)
    columns["frequency"] = unknown if frequency is None else np.asarray(frequency, dtype=np.float64)
    highest, top_tokens, n_top = [], [], []
    for start in range(0, len(moments), _AT_ONCE):
        of_part = _top_of(reader, slice(start, start + _AT_ONCE))
        highest.append(of_part[0])
        top_tokens += of_part[1]
        n_top.append(of_part[2])
    columns |= {"max": np.concatenate(highest), "top_token": top_tokens, "n_top": np.concatenate(n_top)}
    return columns


def _top_of(reader: PackedLayerReader, part: slice) -> tuple[NDArray[np.float64], list[str | None], NDArray[np.int64]]:
    """Of some components: the largest activation of the top examples, the token there, the number of examples."""
    sequence, start, length, activations = (
        np.asarray(_array(reader, f"top_{name}")[part]) for name in ("sequence", "start", "length", "activations")
    )
    problem = example_problem(
        PackedExamples(sequence, start, length, activations), reader.sequence_lengths, reader.info
    )
    if problem is not None:
        raise MalformedDatasetError(f"top examples: {problem}", str(reader.path or "arrays in memory"))
    present = sequence != -1
    sizes = np.where(present, sizes_of_examples(reader, length), 0)
    inside = np.arange(activations.shape[-1]) < sizes[..., None]
    values = np.where(inside, activations.astype(np.float32), -np.inf)
    peaks = values.max(axis=(1, 2), initial=-np.inf)
    highest = np.where(np.isfinite(peaks), peaks, np.nan).astype(np.float64)
    first = present.argmax(axis=1) if present.shape[1] else np.zeros(len(present), dtype=np.int64)
    tokens: list[str | None] = []
    for row, slot in enumerate(first.tolist()):
        if not present.shape[1] or not present[row, slot]:
            tokens.append(None)
            continue
        offset = _token_of(reader, int(values[row, slot].argmax()), int(length[row, slot]))
        token_id = int(reader.sequences[int(sequence[row, slot]), int(start[row, slot]) + offset])
        if not 0 <= token_id < len(reader.token_strings):
            raise MalformedDatasetError(f"a token id is {token_id}", str(reader.path or "arrays in memory"))
        tokens.append(reader.token_strings[token_id])
    return highest, tokens, present.sum(axis=1)


def sizes_of_examples(reader: PackedLayerReader, length: NDArray[Any]) -> NDArray[np.int64]:
    """How many activations an example of each length has."""
    by_length = [reader.info.n_activations(number) for number in range(reader.info.context_length + 1)]
    return np.array(by_length, dtype=np.int64)[np.clip(length, 0, reader.info.context_length)]


def _token_of(reader: PackedLayerReader, place: int, length: int) -> int:
    """Which token of an example an activation is of: of a pair, the one that attends."""
    if not reader.info.is_by_token_pair:
        return place
    window = length if reader.info.attended_window is None else min(length, reader.info.attended_window)
    return int(pairs(length, window)[0][place])


def _array(reader: PackedLayerReader, name: str) -> NDArray[Any]:
    array = reader.arrays.get(name)
    if array is None:
        raise MalformedDatasetError(f"it lacks {name}", str(reader.path or "arrays in memory"))
    return array
