"""Reads a packed neuron dataset, record by record.

`layout` describes the files. Only safetensors and JSON are read. Sizes and shapes are checked before anything is
allocated, and a record is read as slices of a memory-mapped file.
"""

import functools
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from neuron_explainer.activations.packed.layer_file import PackedLayerFile
from neuron_explainer.activations.packed.layout import (
    INFO_FILE_NAME,
    MOST_INFO_BYTES,
    TOKENS_FILE_NAME,
    DatasetInfo,
    layer_file_name,
)
from neuron_explainer.activations.packed.rules import info_problem
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import MalformedDatasetError, MissingFileError, NeuronNotFoundError, number_ranges
from neuron_explainer.storage.local import is_local_file, read_local_bytes, readable
from neuron_explainer.storage.locations import path_text
from neuron_explainer.vocabulary.checks import check_covered

_MOST_TOKENS_BYTES = 256 * 2**20


def is_packed_dataset(path: str | os.PathLike[str]) -> bool:
    """Whether a local folder holds a packed dataset, that is, a `dataset.json`."""
    return is_local_file(Path(path_text(path)) / INFO_FILE_NAME)


class PackedDataset:
    """A packed neuron dataset in a local folder, open for reading.

    Attributes:
        path: the folder.
        info: the contents of `dataset.json`.

    >>> from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
    >>> dataset = PackedDataset.open(resolve_neuron_dataset("tiny", "mlp_post_act"))
    >>> dataset.info.layer_indices, dataset.record(2, 5).neuron_id
    ([0, 1, 2, 3], NeuronId(layer_index=2, neuron_index=5))
    """

    def __init__(self, path: Path, info: DatasetInfo) -> None:
        self.path = path
        self.info = info
        self._layers: dict[int, tuple[tuple[int, int, int], PackedLayerFile]] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "PackedDataset":
        """Open the dataset in a folder.

        Raises:
            MissingFileError: the folder has no `dataset.json`.
            MalformedDatasetError: `dataset.json` is invalid.
        """
        folder = Path(path)
        file = folder / INFO_FILE_NAME
        info = _decoded(file, DatasetInfo, MOST_INFO_BYTES)
        if problem := info_problem(info):
            raise MalformedDatasetError(problem, str(file))
        return cls(folder, info)

    def __repr__(self) -> str:
        info = self.info
        title = f"{info.user_visible_name!r}, {info.derived_scalar_type} of {info.model}"
        layers = f"layers {number_ranges(info.layer_indices)}, {info.n_components:,} components each"
        return f"<PackedDataset {title}: {layers}, in {self.path}>"

    @cached_property
    def token_strings(self) -> list[str]:
        """The token of every id; (vocabulary,)."""
        return _decoded(self.path / TOKENS_FILE_NAME, list[str], _MOST_TOKENS_BYTES)

    def n_components(self, layer: int) -> int:
        """The number of neurons, heads or latents of a layer.

        Raises:
            NeuronNotFoundError: the dataset does not cover the layer.
        """
        check_covered("layer", layer, self.info.layer_indices, str(self.path), NeuronNotFoundError)
        return self.info.n_components

    def record(self, layer: int, index: int) -> NeuronRecord:
        """Read the record of one neuron, head or latent.

        Args:
            layer: the layer, one of `info.layer_indices`.
            index: the neuron, head or latent in the layer, from 0.

        Raises:
            NeuronNotFoundError: the dataset does not cover the layer, or the layer has no such component.
            MalformedDatasetError: the layer's file is invalid.
        """
        subject = f"Layer {layer} of {self.path}"
        check_covered("component", index, range(self.n_components(layer)), subject, NeuronNotFoundError)
        return self.layer_reader(layer).record(index)

    def has_layer(self, layer: int) -> bool:
        """Whether the dataset covers the layer and its file exists."""
        return layer in self.info.layer_indices and (self.path / layer_file_name(layer)).is_file()

    def layer_reader(self, layer: int) -> PackedLayerFile:
        """The file of a layer, open for reading; opened again where it was replaced.

        Raises:
            NeuronNotFoundError: the layer has no file yet.
            MalformedDatasetError: the file is invalid.
        """
        path = self.path / layer_file_name(layer)
        try:
            with readable(str(path)):
                status = path.stat()
        except MissingFileError:
            raise NeuronNotFoundError(f"{self.path} has no file {path.name} yet.") from None
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        opened = self._layers.get(layer)
        if opened is None or opened[0] != version:  # the file may have been replaced
            opened = (version, PackedLayerFile(path, layer, self.info, self.token_strings))
            self._layers[layer] = opened
        return opened[1]


def open_packed_dataset(path: str | os.PathLike[str]) -> PackedDataset:
    """Open a dataset as `PackedDataset.open` does, or return the one opened before if it has not changed since."""
    file = Path(path) / INFO_FILE_NAME
    with readable(str(file)):
        status = file.stat()
    return _opened(os.path.abspath(path), status.st_ino, status.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _opened(path: str, inode: int, changed: int) -> PackedDataset:
    return PackedDataset.open(path)


def _decoded(file: Path, expected_type: Any, most_bytes: int) -> Any:
    """The contents of a JSON file, as `expected_type`."""
    content = read_local_bytes(file, most_bytes)
    try:
        return msgspec.json.decode(content, type=expected_type)
    except RecursionError:
        raise MalformedDatasetError("it is nested too deeply", str(file)) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedDatasetError(str(error), str(file)) from None
