"""Writes a packed neuron dataset: its info first, then one layer at a time."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.packed.layer_file import LAYER_KEY
from neuron_explainer.activations.packed.layout import (
    INFO_FILE_NAME,
    TOKENS_FILE_NAME,
    DatasetInfo,
    PackedLayer,
    layer_file_name,
)
from neuron_explainer.activations.packed.rules import info_problem, layout_problem, values_problem
from neuron_explainer.errors import InvalidRequestError, number_ranges
from neuron_explainer.storage.atomic import replaced_atomically, write_bytes_atomically


def write_packed_dataset_info(path: str | os.PathLike[str], info: DatasetInfo, token_strings: Sequence[str]) -> None:
    """Begin a packed dataset: make its folder, `dataset.json` and `tokens.json`.

    Args:
        path: the dataset's folder.
        info: the contents of `dataset.json`.
        token_strings: the token of every id, as records show it; (vocabulary,).

    Raises:
        InvalidRequestError: `info` contradicts itself.
    """
    if problem := info_problem(info):
        raise InvalidRequestError(f"The DatasetInfo is invalid: {problem}.")
    write_bytes_atomically(Path(path) / TOKENS_FILE_NAME, msgspec.json.encode(list(token_strings)))
    write_bytes_atomically(Path(path) / INFO_FILE_NAME, msgspec.json.format(msgspec.json.encode(info)))


def write_packed_layer(path: str | os.PathLike[str], layer: int, packed_layer: PackedLayer) -> None:
    """Write one layer of a dataset that `write_packed_dataset_info` began. A reader sees all of it or nothing.

    Args:
        path: the dataset's folder.
        layer: the layer, one of the dataset's `layer_indices`.
        packed_layer: the arrays.

    Raises:
        InvalidRequestError: the arrays break a rule of the layout, or the dataset does not cover the layer.
        MissingFileError, MalformedDatasetError: the dataset was not begun, or its files are invalid.
    """
    dataset = PackedDataset.open(path)
    info = dataset.info
    tensors = packed_layer.tensors()
    problem = layout_problem({name: (array.dtype.name, array.shape) for name, array in tensors.items()}, info)
    if problem is None and layer not in info.layer_indices:
        problem = f"the dataset covers the layers {number_ranges(info.layer_indices)}"
    if problem is None:
        problem = values_problem(packed_layer, info, len(dataset.token_strings))
    if problem is not None:
        raise InvalidRequestError(f"Layer {layer} cannot be written to {os.fspath(path)}: {problem}.")
    with replaced_atomically(Path(path) / layer_file_name(layer)) as temporary:
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        save_file(arrays, temporary, metadata={LAYER_KEY: str(layer)})
