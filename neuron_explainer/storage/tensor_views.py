"""Reads a safetensors file as NumPy arrays that are views of the memory-mapped file: a slice reads only its own bytes.

The safetensors library copies every slice through several calls. A record consists of about a hundred small slices,
for which views are several times as fast. The format (https://github.com/huggingface/safetensors): eight bytes with the
header's length; a JSON header with each tensor's dtype, shape and byte range; the tensors' bytes, little-endian, in C
order.
"""

import math
import mmap
import os
import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from neuron_explainer.errors import MissingFileError

_MOST_HEADER_BYTES = 16 * 2**20
_MOST_TENSOR_BYTES = 2**48
_DTYPE_BY_NAME = {
    "I8": "<i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "<u1",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def tensor_views(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name, as read-only views of the file.

    The file must not be changed in place while the views exist. Replacing the file by another one does not affect them.

    Raises:
        MissingFileError: the file does not exist.
        ValueError: it is not a safetensors file, is incomplete, or has a dtype that NumPy lacks.
    """
    try:
        with open(path, "rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            header = _header(file.read(8), n_bytes)
            content = file.read(header)
            body = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[8 + header :]
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise MissingFileError(os.fspath(path)) from None
    try:
        fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        fields.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in fields.items()}
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ValueError(f"its header is invalid: {error}") from None
    return {name: _view(name, tensor, body) for name, tensor in tensors.items()}


def _header(length: bytes, n_bytes: int) -> int:
    if len(length) < 8:
        raise ValueError(f"it has {n_bytes} bytes, too few for a safetensors file")
    (header,) = struct.unpack("<Q", length)
    if header > min(_MOST_HEADER_BYTES, n_bytes - 8):
        raise ValueError(f"its header is said to have {header:,} bytes, of {n_bytes:,} in all")
    return int(header)


def _view(name: str, tensor: _Tensor, body: memoryview) -> NDArray[Any]:
    if tensor.dtype not in _DTYPE_BY_NAME:
        raise ValueError(f"its tensor {name[:80]!r} has the unsupported dtype {tensor.dtype[:20]!r}")
    dtype = np.dtype(_DTYPE_BY_NAME[tensor.dtype])
    start, end = tensor.data_offsets
    if len(tensor.shape) > 16 or not all(0 <= length <= _MOST_TENSOR_BYTES for length in tensor.shape):
        raise ValueError(f"its tensor {name[:80]!r} has an invalid shape")
    size = math.prod(tensor.shape)
    if not 0 <= start <= end <= len(body) or end - start != size * dtype.itemsize:
        raise ValueError(f"the byte range of its tensor {name[:80]!r} exceeds the file or does not fit the shape")
    if size == 0:
        return np.empty(tensor.shape, dtype)
    return np.frombuffer(body, dtype, count=size, offset=start).reshape(tensor.shape)
