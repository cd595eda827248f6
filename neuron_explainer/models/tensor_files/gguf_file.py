"""GGUF files: their metadata and their tensors.

The layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), little-endian: "GGUF", version, number of
tensors, number of metadata entries; the entries (key, type, value); for each tensor its name, shape (last axis first,
so reversed here), type and offset; then the data, from the next multiple of the alignment on. Opening a file reads
everything before the data; most of that is the vocabulary.
"""

import math
import mmap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError
from neuron_explainer.models.tensor_files.gguf_cursor import GgufCursor
from neuron_explainer.models.tensor_files.gguf_quantisation import quantised_bytes, read_quantised, read_quantised_rows
from neuron_explainer.models.tensor_files.raw_tensors import stream_elements, stream_rows

_DTYPE_BY_TYPE_NUMBER = {0: torch.float32, 1: torch.float16, 28: torch.float64, 30: torch.bfloat16}
"""The tensor types that are plain floating-point numbers; all others are quantised, or whole numbers."""
_DEFAULT_ALIGNMENT = 32
_MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor is in its file: its first byte, the number of its type, and its shape."""

    offset: int
    type_number: int
    shape: tuple[int, ...]

    def n_bytes(self, path: Path, name: str) -> int:
        """How many bytes of the file the tensor takes; `path` and `name` are for errors.

        Raises:
            UnsupportedCheckpointError: its type is unknown.
            MalformedCheckpointError: its shape does not fit its type.
        """
        if self.type_number in _DTYPE_BY_TYPE_NUMBER:
            return math.prod(self.shape) * _DTYPE_BY_TYPE_NUMBER[self.type_number].itemsize
        return quantised_bytes(path, name, self.type_number, self.shape)

    def part(self, path: Path, name: str, index: int) -> "GgufTensor":
        """The part at an index of the first of several axes, which is stored in one piece.

        `path` and `name` are for errors, which are those of `n_bytes`.
        """
        n_bytes = self.n_bytes(path, name) // self.shape[0]
        return GgufTensor(self.offset + index * n_bytes, self.type_number, self.shape[1:])


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file's metadata by key, and its tensors by name."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    @classmethod
    def open(cls, path: Path) -> "GgufFile":
        """Read the metadata, and where the tensors are.

        Raises:
            MalformedCheckpointError: it is not a GGUF file, or it is cut off.
            UnsupportedCheckpointError: its version or byte order is not supported, or a tensor's type is unknown.
        """
        n_bytes = path.stat().st_size
        if n_bytes == 0:
            raise MalformedCheckpointError(f"{path} is empty.", file=path)
        with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            cursor = GgufCursor(path, content)
            n_tensors, n_entries = _read_preamble(cursor)
            metadata = {}
            for _ in range(n_entries):
                key = cursor.string()
                metadata[key] = cursor.value(cursor.scalar("<I"))
            unplaced: dict[str, GgufTensor] = {}
            for _ in range(n_tensors):
                name = cursor.string()
                if name in unplaced:
                    raise MalformedCheckpointError(f"{path} lists tensor {name!r} twice.", file=path, tensor=name)
                unplaced[name] = _tensor_entry(cursor, name)
            alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
            if not isinstance(alignment, int) or alignment < 1:
                raise MalformedCheckpointError(
                    f"{path}: the alignment is {alignment!r}; it must be 1 or more.", file=path
                )
            data_start = -(-cursor.position // alignment) * alignment
        tensors = {
            name: GgufTensor(data_start + tensor.offset, tensor.type_number, tensor.shape)
            for name, tensor in unplaced.items()
        }
        for name, tensor in tensors.items():
            end = tensor.offset + tensor.n_bytes(path, name)
            if end > n_bytes:
                raise MalformedCheckpointError(
                    f"{path} is cut off: it has {n_bytes} bytes, and tensor {name!r} ends at byte {end}. "
                    "Copy or download it again.",
                    file=path,
                    tensor=name,
                )
        return cls(path, metadata, tensors)

    def names(self) -> Collection[str]:
        """The names of all tensors."""
        return self.tensors.keys()

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor, dequantised if it is quantised, a few rows at a time.

        Raises:
            UnsupportedCheckpointError: the installed `gguf` package cannot dequantise this type.
            MissingPackageError: the tensor is quantised and the `gguf` package is not installed.
            MalformedCheckpointError: the file ends too early.
            NonFiniteTensorError: a number is NaN or infinite.
        """
        tensor = self.tensors[name]
        if tensor.type_number in _DTYPE_BY_TYPE_NUMBER:
            with self.path.open("rb", buffering=0) as file:
                return stream_elements(
                    file,
                    tensor.offset,
                    _DTYPE_BY_TYPE_NUMBER[tensor.type_number],
                    tensor.shape,
                    dtype=dtype,
                    device=device,
                    name=name,
                )
        return read_quantised(
            self.path, name, tensor.offset, tensor.type_number, tensor.shape, dtype=dtype, device=device
        )

    def read_rows(
        self, name: str, rows: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "rows ..."]:
        """Some rows of a tensor, dequantised if it is quantised. Errors are those of `read`."""
        tensor = self.tensors[name]
        if tensor.type_number not in _DTYPE_BY_TYPE_NUMBER:
            return read_quantised_rows(
                self.path, name, tensor.offset, tensor.type_number, tensor.shape, rows, dtype=dtype, device=device
            )
        stored = _DTYPE_BY_TYPE_NUMBER[tensor.type_number]
        with self.path.open("rb", buffering=0) as file:
            return stream_rows(file, tensor.offset, stored, tensor.shape, rows, dtype=dtype, device=device, name=name)


def _read_preamble(cursor: GgufCursor) -> tuple[int, int]:
    """How many tensors and how many metadata entries the file has."""
    if cursor.take(4) != b"GGUF":
        raise MalformedCheckpointError(
            f"{cursor.path} is not a GGUF file: it does not begin with 'GGUF'.", file=cursor.path
        )
    version = cursor.scalar("<I")
    if version not in (2, 3):
        raise UnsupportedCheckpointError(
            f"{cursor.path} is a GGUF file of version {version}, or big-endian. Supported: versions 2 and 3, "
            "little-endian. llama.cpp's tools convert older files.",
            file=cursor.path,
        )
    return cursor.scalar("<Q"), cursor.scalar("<Q")


def _tensor_entry(cursor: GgufCursor, name: str) -> GgufTensor:
    """A tensor as listed; its offset is still counted from the beginning of the data."""
    n_dimensions = cursor.scalar("<I")
    if n_dimensions > _MOST_DIMENSIONS:
        raise MalformedCheckpointError(
            f"{cursor.path}: tensor {name!r} has {n_dimensions} axes; the limit is {_MOST_DIMENSIONS}.",
            file=cursor.path,
            tensor=name,
        )
    shape = tuple(reversed([cursor.scalar("<Q") for _ in range(n_dimensions)]))
    type_number, offset = cursor.scalar("<I"), cursor.scalar("<Q")
    return GgufTensor(offset, type_number, shape)
