"""Where the index of a dataset's examples is kept: beside the dataset, or in the cache folder; never a stale one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections import OrderedDict
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.packed.layout import INFO_FILE_NAME, TOKENS_FILE_NAME, layer_file_name
from neuron_explainer.components.search.example_index import DTYPES, ExampleIndex, index_problem, made_index
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.storage.atomic import replaced_atomically
from neuron_explainer.storage.disk_cache import cache_folder
from neuron_explainer.storage.tensor_views import tensor_views

INDEX_FILE_NAME = "search_index.safetensors"
INSTALLED = Path(str(files("neuron_explainer") / "data")).absolute()
"""The folder of the datasets that come with this library."""
_FORMAT = "2"  # 1: parts of characters were escapes
_MOST_OPEN = 4
_OPEN: OrderedDict[tuple[str, str], ExampleIndex] = OrderedDict()
_LOCK = threading.Lock()


def open_index(dataset: PackedDataset, progress: bool | None = None) -> ExampleIndex:
    """The index of a dataset: the one that is kept if it is of the files as they are now and whole, else a new one.

    Args:
        dataset: the dataset.
        progress: whether there is a bar while it is made; None: on a terminal or in a notebook.

    Raises:
        MalformedDatasetError, NeuronNotFoundError: the dataset's files are invalid or missing.
    """
    state = state_of_dataset_files(dataset)
    key = (os.path.abspath(dataset.path), state)
    with _LOCK:
        if key in _OPEN:
            _OPEN.move_to_end(key)
            return _OPEN[key]
    index = None
    for path in index_paths(dataset.path):
        index = _read(path, state, dataset)
        if index is not None:
            break
    if index is None:
        index = made_index(dataset, progress)
        for path in index_paths(dataset.path):
            with contextlib.suppress(OSError):
                _write(path, index, state)
                break
    with _LOCK:
        _OPEN[key] = index
        while len(_OPEN) > _MOST_OPEN:
            _OPEN.popitem(last=False)
    return index


def state_of_dataset_files(dataset: PackedDataset) -> str:
    """The size and the time of the last change of each file of a dataset, as text."""
    names = [INFO_FILE_NAME, TOKENS_FILE_NAME, *(layer_file_name(layer) for layer in dataset.info.layer_indices)]
    states = []
    for name in names:
        try:
            status = os.stat(dataset.path / name)
            states.append([name, status.st_size, status.st_mtime_ns])
        except OSError:
            states.append([name])
    return json.dumps([_FORMAT, states])


def index_paths(folder: Path) -> list[Path]:
    """Where the index of a dataset may be, the place to prefer first."""
    whole = Path(os.path.abspath(folder))
    paths = []
    if not whole.is_relative_to(INSTALLED):  # what was installed is not written to
        paths.append(whole / INDEX_FILE_NAME)
    if (cache := cache_folder()) is not None:
        name = hashlib.sha256(str(whole).encode("utf-8", "surrogatepass")).hexdigest()
        paths.append(cache / "search_indices" / f"{name}.safetensors")
    return paths


def _read(path: Path, state: str, dataset: PackedDataset) -> ExampleIndex | None:
    """A kept index; None if it is missing, stale or damaged."""
    try:
        tensors, metadata = tensor_views(path)
    except (OSError, ValueError, NeuronExplainerError):
        return None
    if metadata.get("state") != state or set(tensors) != set(DTYPES):
        return None
    if metadata.get("sha256") != _digest(tensors):
        return None
    index = ExampleIndex(**tensors)
    return index if index_problem(index, dataset) is None else None


def _write(path: Path, index: ExampleIndex, state: str) -> None:
    tensors = {name: np.ascontiguousarray(array) for name, array in index.tensors().items()}
    with replaced_atomically(path, durable=False) as temporary:
        try:
            save_file(tensors, temporary, metadata={"state": state, "sha256": _digest(tensors)})
        except OSError:
            raise
        except Exception as error:  # safetensors' own error of a full disk
            raise OSError(str(error)) from error


def _digest(tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(memoryview(cast("Any", array)).cast("B") if array.size else b"")
    return digest.hexdigest()
