"""A safetensors file as NumPy arrays that are views of the memory-mapped file: a slice reads only its own bytes.

The safetensors library copies every slice through several calls. Where one record is made from a hundred small slices,
views are several times as fast.
"""

import math
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.storage.local import opened_file
from neuron_explainer.storage.safetensors_header import TensorEntry, read_whole_header

_LARGEST_HEADER = 16 * 2**20
_NUMPY_DTYPE = {
    "I8": "<i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "<u1",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


def tensor_views(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors of a safetensors file by name, as read-only views of the file; and its metadata, texts by name.

    While they are in use the file must not be changed in place. It may be replaced by another file of the same name.

    Example:
        tensors, _ = tensor_views("layer_3.safetensors")
        tensors["activations"][100:200]

    Raises:
        MissingFileError: the file does not exist.
        UnreadableFileError: the system refuses to open it.
        ValueError: it is not a valid safetensors file, or a dtype is not supported. (SafetensorsError is one.)
    """
    with opened_file(path) as file:
        header = read_whole_header(file, _LARGEST_HEADER)
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return {name: _view(name, entry, content) for name, entry in header.tensors.items()}, header.metadata()


def tensor_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a safetensors file: texts by name.

    Raises:
        MissingFileError, UnreadableFileError, ValueError: as `tensor_views`.
    """
    with opened_file(path) as file:
        return read_whole_header(file, _LARGEST_HEADER).metadata()


def _view(name: str, entry: TensorEntry, content: memoryview) -> NDArray[Any]:
    if entry.dtype not in _NUMPY_DTYPE:
        raise ValueError(f"the dtype {entry.dtype[:20]!r} of {name[:80]!r} is not supported")
    dtype = np.dtype(_NUMPY_DTYPE[entry.dtype])
    size = math.prod(entry.shape)
    if size == 0:
        return np.empty(entry.shape, dtype)
    return np.frombuffer(content, dtype, count=size, offset=entry.start).reshape(entry.shape)
