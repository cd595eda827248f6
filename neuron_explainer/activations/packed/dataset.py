"""The packed layout of a neuron dataset: written layer by layer, read record by record.

See `packed_layout` for the files. Only safetensors and JSON are read, sizes and shapes are checked before anything is
made of them, and a record is read by slices of a memory-mapped file.
"""

import functools
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import save_file

from neuron_explainer.activations.packed.layer_file import PackedLayerFile
from neuron_explainer.activations.packed.layout import (
    FORMAT_VERSION,
    INFO_FILE_NAME,
    TOKENS_FILE_NAME,
    DatasetInfo,
    PackedExamples,
    PackedLayer,
    example_problem,
    layer_file_name,
    layout_problem,
)
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import (
    InvalidRequestError,
    MalformedDatasetError,
    NeuronNotFoundError,
)
from neuron_explainer.storage.atomic import replaced_atomically, write_bytes_atomically
from neuron_explainer.storage.local import read_local_bytes

__all__ = [
    "DatasetInfo",
    "PackedDataset",
    "PackedExamples",
    "PackedLayer",
    "is_packed_dataset",
    "open_packed_dataset",
    "write_packed_dataset_info",
    "write_packed_layer",
]

_MOST_INFO_BYTES = 16 * 2**20
_MOST_TOKENS_BYTES = 256 * 2**20


def is_packed_dataset(path: str | os.PathLike[str]) -> bool:
    """Whether a local folder holds a packed dataset."""
    return (Path(path) / INFO_FILE_NAME).is_file()


def write_packed_dataset_info(path: str | os.PathLike[str], info: DatasetInfo, token_strings: Sequence[str]) -> None:
    """Begin a packed dataset: make its folder and write what is true of all layers.

    Args:
        path: the dataset's folder.
        info: what the dataset is.
        token_strings: the token of every id, as records show it.

    Raises:
        InvalidRequestError: `info` contradicts itself.
    """
    if problem := _info_problem(info):
        raise InvalidRequestError(f"This is no packed dataset: {problem}.")
    write_bytes_atomically(Path(path) / TOKENS_FILE_NAME, msgspec.json.encode(list(token_strings)))
    write_bytes_atomically(Path(path) / INFO_FILE_NAME, msgspec.json.format(msgspec.json.encode(info)))


def write_packed_layer(path: str | os.PathLike[str], layer: int, packed_layer: PackedLayer) -> None:
    """Write one layer of a dataset that `write_packed_dataset_info` began; a reader sees all of it or nothing.

    Raises:
        InvalidRequestError: the arrays' names, dtypes, shapes or values do not keep the layout's rules, or the dataset
            does not cover the layer.
    """
    dataset = PackedDataset.open(path)
    info = dataset.info
    tensors = packed_layer.tensors()
    problem = layout_problem({name: (array.dtype.name, array.shape) for name, array in tensors.items()}, info)
    if problem is None and layer not in info.layer_indices:
        problem = f"the dataset covers the layers {info.layer_indices}"
    if problem is None:
        problem = _values_problem(packed_layer, info, len(dataset.token_strings))
    if problem is not None:
        raise InvalidRequestError(f"Layer {layer} cannot be written to {os.fspath(path)}: {problem}.")
    with replaced_atomically(Path(path) / layer_file_name(layer)) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, temporary)


def _info_problem(info: DatasetInfo) -> str | None:
    if info.format_version != FORMAT_VERSION:
        return f"its layout is version {info.format_version}, and this library knows version {FORMAT_VERSION}"
    for name in ("n_layers", "n_components", "context_length"):
        if not 1 <= getattr(info, name) < 2**31:
            return f"its {name} is {getattr(info, name)}"
    outside = [layer for layer in info.layer_indices if not 0 <= layer < info.n_layers]
    if outside or len(set(info.layer_indices)) != len(info.layer_indices):
        return f"of {info.n_layers} layers it covers {info.layer_indices}"
    if info.attended_window is not None and not (info.is_by_token_pair and info.attended_window >= 1):
        return f"its attended_window is {info.attended_window}, and is_by_token_pair is {info.is_by_token_pair}"
    return None


def _values_problem(layer: PackedLayer, info: DatasetInfo, n_token_strings: int) -> str | None:
    lengths = layer.sequence_lengths
    if np.any((lengths < 0) | (lengths > info.context_length)):
        return f"a sequence's length is not from 0 to {info.context_length}"
    read = np.arange(info.context_length) < lengths[:, None]
    if np.any(read & ((layer.sequences < 0) | (layer.sequences >= n_token_strings))):
        return f"a token id is not one of the {n_token_strings} in {TOKENS_FILE_NAME}"
    for kind, examples in layer.groups().items():
        if problem := example_problem(examples, lengths, info):
            return f"{kind}: {problem}"
        if not np.isfinite(examples.activations).all():
            dtype = examples.activations.dtype
            return f"{kind}: an activation is not finite (as {dtype}; float32 holds larger ones than float16)"
    for name in ("quantile_boundaries", "histogram_edges"):
        array = getattr(layer, name)
        if array is not None and not np.isfinite(array).all():
            return f"{name} are not all finite"
    return None


class PackedDataset:
    """A packed neuron dataset on a local disk, open for reading.

    Attributes:
        path: its folder.
        info: what `dataset.json` says.
    """

    def __init__(self, path: Path, info: DatasetInfo) -> None:
        self.path = path
        self.info = info
        self._layers: dict[int, tuple[tuple[int, int, int], PackedLayerFile]] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "PackedDataset":
        """Open the dataset in a folder.

        Raises:
            MissingFileError: there is no `dataset.json`.
            MalformedDatasetError: `dataset.json` is not sound.
        """
        folder = Path(path)
        file = folder / INFO_FILE_NAME
        info = _decoded(file, DatasetInfo, _MOST_INFO_BYTES)
        if problem := _info_problem(info):
            raise MalformedDatasetError(problem, str(file))
        return cls(folder, info)

    def __repr__(self) -> str:
        info = self.info
        what = f"{info.user_visible_name!r}, {info.derived_scalar_type} of {info.model}"
        layers = f"layers {_ranges(info.layer_indices)}, {info.n_components:,} components in each"
        return f"<PackedDataset {what}: {layers}, in {self.path}>"

    @cached_property
    def token_strings(self) -> list[str]:
        """The token of every id."""
        return _decoded(self.path / TOKENS_FILE_NAME, list[str], _MOST_TOKENS_BYTES)

    def n_components(self, layer: int) -> int:
        """How many neurons, heads or latents a layer has.

        Raises:
            NeuronNotFoundError: the dataset does not cover the layer.
        """
        if layer not in self.info.layer_indices:
            raise NeuronNotFoundError(f"{self.path} covers the layers {_ranges(self.info.layer_indices)}, not {layer}.")
        return self.info.n_components

    def record(self, layer: int, index: int) -> NeuronRecord:
        """The record of one component, read by slices.

        Raises:
            NeuronNotFoundError: the dataset does not cover the layer, or the layer has no such component.
            MalformedDatasetError: the layer's file is not sound.
        """
        n_components = self.n_components(layer)
        if not 0 <= index < n_components:
            raise NeuronNotFoundError(
                f"{self.path} has the indices 0 to {n_components - 1} in layer {layer}, not {index}."
            )
        return self._layer(layer).record(index)

    def has_layer(self, layer: int) -> bool:
        """Whether the layer is covered and its file is there."""
        return layer in self.info.layer_indices and (self.path / layer_file_name(layer)).is_file()

    def _layer(self, layer: int) -> PackedLayerFile:
        path = self.path / layer_file_name(layer)
        try:
            status = path.stat()
        except FileNotFoundError:
            raise NeuronNotFoundError(f"{self.path} has no file for layer {layer} ({path.name}) yet.") from None
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._layers.get(layer)
        if known is None or known[0] != version:  # another file may have taken the name
            known = (version, PackedLayerFile(path, layer, self.info, self.token_strings))
            self._layers[layer] = known
        return known[1]


def open_packed_dataset(path: str | os.PathLike[str]) -> PackedDataset:
    """As `PackedDataset.open`, but a dataset that was opened before, and has not changed since, is kept open."""
    try:
        status = (Path(path) / INFO_FILE_NAME).stat()
    except FileNotFoundError:
        return PackedDataset.open(path)  # which says what is missing
    return _opened(os.path.abspath(path), status.st_ino, status.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _opened(path: str, inode: int, changed: int) -> PackedDataset:
    return PackedDataset.open(path)


def _ranges(indices: Sequence[int]) -> str:
    """ "0 to 11" for what is gapless, else the list."""
    ordered = sorted(indices)
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered)) or "none"


def _decoded(file: Path, kind: Any, most_bytes: int) -> Any:
    """What a JSON file holds, as `kind`."""
    content = read_local_bytes(file, most_bytes)
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError:
        raise MalformedDatasetError("it is nested too deeply", str(file)) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedDatasetError(str(error), str(file)) from None
