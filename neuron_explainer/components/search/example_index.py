"""The index of a packed dataset's stored examples: its texts, and where each example lies in them.

Sequences with the same tokens are one text, in whatever layers they are stored. Examples are sorted by their largest
activation, so that a search can stop early. The index holds no activations: those are read from the dataset.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.attention_utils import row_lengths
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.packed.layout import DatasetInfo, PackedExamples
from neuron_explainer.activations.packed.rules import example_problem
from neuron_explainer.activations.token_bytes import bytes_of_tokens, may_be_part
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.errors import MalformedDatasetError
from neuron_explainer.models.watching import stop_if_asked

GROUPS = ("top", "random", "quantile")
BETWEEN_TEXTS = 0xFF
"""The byte between two texts. It is never part of UTF-8."""


@dataclass(frozen=True)
class ExampleIndex:
    """Texts, and the windows of examples in them; see the module.

    Attributes:
        text: the UTF-8 of all texts, a byte between two; uint8. Parts of a character are the bytes of the character.
        token_start: where each token begins in it, and the end; int64 (tokens + 1,).
        first_token: the first token of each sequence, and the number of all; int64 (sequences + 1,).
        sequence: of each window, the sequence.
        start: its first token in the sequence.
        length: its tokens.
        layer: its layer.
        group: its kind, the place in GROUPS.
        row: its place among the layer's windows of that kind, all components together.
        peak: its largest activation that counts; the largest window first.
    """

    text: NDArray[np.uint8]
    token_start: NDArray[np.int64]
    first_token: NDArray[np.int64]
    sequence: NDArray[np.int32]
    start: NDArray[np.int32]
    length: NDArray[np.int32]
    layer: NDArray[np.int32]
    group: NDArray[np.int8]
    row: NDArray[np.int32]
    peak: NDArray[np.float32]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


DTYPES = {
    "text": "uint8",
    "token_start": "int64",
    "first_token": "int64",
    "sequence": "int32",
    "start": "int32",
    "length": "int32",
    "layer": "int32",
    "group": "int8",
    "row": "int32",
    "peak": "float32",
}


def first_counted(info: DatasetInfo) -> int:
    """The first token of a sequence that counts: 1 where each begins with the beginning-of-sequence token."""
    settings = info.provenance.get("settings")
    return int(isinstance(settings, dict) and settings.get("prepend_bos") is True)


def index_problem(index: ExampleIndex, dataset: PackedDataset) -> str | None:
    """The first problem with an index of a dataset; None if every place in it exists."""
    for name, array in index.tensors().items():
        if array.dtype.name != DTYPES[name] or array.ndim != 1:
            return f"its {name} has another form"
    windows = (index.sequence, index.start, index.length, index.layer, index.group, index.row, index.peak)
    if len({len(array) for array in windows}) > 1:
        return "its windows differ in number"
    for offsets, end in ((index.token_start, len(index.text)), (index.first_token, len(index.token_start) - 1)):
        if not len(offsets) or offsets[0] < 0 or offsets[-1] > end or np.any(np.diff(offsets) < 0):
            return "its offsets do not fit"
    if not len(index.sequence):
        return None
    if index.sequence.min() < 0 or index.sequence.max() >= len(index.first_token) - 1:
        return "a window has a sequence that does not exist"
    sizes = np.diff(index.first_token)[index.sequence]
    if index.start.min() < 0 or index.length.min() < 1 or np.any(index.start.astype(np.int64) + index.length > sizes):
        return "a window exceeds its sequence"
    if index.group.min() < 0 or index.group.max() >= len(GROUPS) or index.row.min() < 0:
        return "a window has a place that does not exist"
    for layer in np.unique(index.layer).tolist():
        if layer not in dataset.info.layer_indices:
            return "a window has a layer that does not exist"
        arrays, in_layer = dataset.layer_reader(layer).arrays, index.layer == layer
        for number, group in enumerate(GROUPS):
            rows = index.row[in_layer & (index.group == number)]
            n_rows = arrays[f"{group}_sequence"].size if f"{group}_sequence" in arrays else 0
            if len(rows) and rows.max() >= n_rows:
                return "a window has a place that does not exist"
    return None


def made_index(dataset: PackedDataset, progress: bool | None = None) -> ExampleIndex:
    """Make the index of a dataset.

    Raises:
        MalformedDatasetError: a layer's file is invalid.
        NeuronNotFoundError: a layer has no file.
    """
    numbers: dict[bytes, int] = {}
    windows: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("sequence", "start", "length", "layer", "group", "row", "peak")
    }
    layers = dataset.info.layer_indices
    with passes_bar(len(layers), progress, "indexing") as advance:
        for layer in layers:
            stop_if_asked()
            _add_layer(dataset, layer, numbers, windows)
            advance(1)
    joined = {
        name: np.concatenate(parts).astype(DTYPES[name]) if parts else np.empty(0, DTYPES[name])
        for name, parts in windows.items()
    }
    order = np.argsort(-joined["peak"], kind="stable")
    return ExampleIndex(*_texts(dataset, numbers), **{name: array[order] for name, array in joined.items()})


def _add_layer(
    dataset: PackedDataset, layer: int, numbers: dict[bytes, int], windows: dict[str, list[NDArray[Any]]]
) -> None:
    reader, info = dataset.layer_reader(layer), dataset.info
    lengths = reader.sequence_lengths
    number_of = np.full(max(1, len(lengths)), -1, np.int64)
    for group, kind in enumerate(GROUPS):
        if f"{kind}_sequence" not in reader.arrays:
            continue
        parts = [reader.arrays[f"{kind}_{part}"] for part in ("sequence", "start", "length", "activations")]
        if problem := example_problem(PackedExamples(*parts), lengths, info):
            raise MalformedDatasetError(f"{kind} examples: {problem}", str(reader.path))
        sequence, start, length = (part.reshape(-1).astype(np.int64) for part in parts[:3])
        activations = parts[3].reshape(len(sequence), -1)
        rows = np.flatnonzero(sequence != -1)
        for each in np.unique(sequence[rows]).tolist():
            if number_of[each] < 0:
                ids = np.asarray(reader.sequences[each, : int(lengths[each])]).astype(np.int32)
                if len(ids) and (ids.min() < 0 or ids.max() >= len(dataset.token_strings)):
                    raise MalformedDatasetError(f"sequence {each} has a token id out of range", str(reader.path))
                number_of[each] = numbers.setdefault(ids.tobytes(), len(numbers))
        windows["sequence"].append(number_of[sequence[rows]])
        windows["start"].append(start[rows])
        windows["length"].append(length[rows])
        windows["layer"].append(np.full(len(rows), layer))
        windows["group"].append(np.full(len(rows), group))
        windows["row"].append(rows)
        windows["peak"].append(_peaks(activations, rows, start[rows], length[rows], info))


def _peaks(
    activations: NDArray[Any],
    rows: NDArray[np.int64],
    start: NDArray[np.int64],
    length: NDArray[np.int64],
    info: DatasetInfo,
) -> NDArray[np.float32]:
    """The largest activation of each window that counts; of windows without one, the lowest number."""
    peaks = np.full(len(rows), -np.inf, np.float32)
    skipped = first_counted(info)
    n_in_block = max(1, (1 << 22) // max(1, activations.shape[1]))
    firsts, _ = pair_rows(info)
    for begin in range(0, len(rows), n_in_block):
        part = slice(begin, begin + n_in_block)
        values = activations[rows[part]].astype(np.float32)
        place = np.arange(values.shape[1])
        n_values = firsts[length[part]] if info.is_by_token_pair else length[part]
        counts = (place < n_values[:, None]) & np.isfinite(values)
        if skipped:
            at_beginning = (start[part] == 0)[:, None]
            first = np.isin(place, firsts[:-1]) if info.is_by_token_pair else place == 0
            counts &= ~(at_beginning & first)
        peaks[part] = np.where(counts, values, -np.inf).max(axis=1, initial=-np.inf)
    return peaks


def pair_rows(info: DatasetInfo) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of pairs: where the row of each token that attends begins, with the end of all, and how long each row is."""
    sizes = np.asarray(row_lengths(info.context_length, info.attended_window), np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), sizes


def _texts(
    dataset: PackedDataset, numbers: dict[bytes, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    tokens = dataset.token_strings
    strings = [text.encode("utf-8", "surrogatepass") for text in tokens]
    sizes = np.array([len(text) for text in strings] or [0], np.int64)
    may_join = np.array([may_be_part(text) for text in tokens] or [False], np.bool_)
    pieces, starts, firsts, at, n_tokens = [], [], [], 0, 0
    for content in numbers:
        ids = np.frombuffer(content, np.int32)
        own_sizes = sizes[ids]
        if may_join[ids].any():  # characters that are split over tokens are found as characters
            parts = bytes_of_tokens([tokens[token_id] for token_id in ids.tolist()])
            own_sizes = np.array([len(part) for part in parts], np.int64)
        else:
            parts = [strings[token_id] for token_id in ids.tolist()]
        piece = b"".join(parts)
        starts.append(at + np.cumsum(own_sizes) - own_sizes)
        firsts.append(n_tokens)
        pieces.append(piece)
        at, n_tokens = at + len(piece) + 1, n_tokens + len(ids)
    text = np.frombuffer(bytes([BETWEEN_TEXTS]).join(pieces), np.uint8)
    token_start = np.concatenate([*starts, np.array([len(text)], np.int64)])
    return text, token_start, np.array([*firsts, n_tokens], np.int64)
