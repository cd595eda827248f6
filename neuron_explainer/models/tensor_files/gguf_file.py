"""GGUF files: what they say, and the numbers of their tensors.

The layout (little-endian): "GGUF", version, number of tensors, number of metadata entries; the entries (key, type,
value); for each tensor its name, sizes (fastest-running first, so reversed here), type and offset; then, from the next
multiple of the alignment on, the data. Reading stops at the data, so opening a file takes as long as its vocabulary.
"""

import math
import mmap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import (
    MalformedCheckpointError,
    MissingPackageError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.tensor_files.gguf_cursor import GgufCursor
from neuron_explainer.models.tensor_files.raw_tensors import ELEMENTS_PER_PIECE, fill_in_pieces, stream_elements

_PLAIN_DTYPES = {0: torch.float32, 1: torch.float16, 28: torch.float64, 30: torch.bfloat16}
"""The tensor types that are plain numbers; all others are quantised (or whole numbers, which no weight is)."""
_DEFAULT_ALIGNMENT = 32
_MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor is in its file: its first byte, the number of its type, and its shape."""

    offset: int
    type_number: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file's metadata by key, and its tensors by name."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    @classmethod
    def open(cls, path: Path) -> "GgufFile":
        """Read everything but the tensors' numbers.

        Raises:
            MalformedCheckpointError: it is no GGUF file, or it is cut off.
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
                raise MalformedCheckpointError(f"{path}: its alignment is {alignment!r}.", file=path)
            data_start = -(-cursor.position // alignment) * alignment
        tensors = {
            name: GgufTensor(data_start + tensor.offset, tensor.type_number, tensor.shape)
            for name, tensor in unplaced.items()
        }
        for name, tensor in tensors.items():
            end = tensor.offset + _n_bytes(path, name, tensor)
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
        """A tensor's numbers, dequantised where they are quantised, a few rows at a time.

        Raises:
            UnsupportedCheckpointError: the `gguf` package does not know how to dequantise this type.
            MissingPackageError: the tensor is quantised and the `gguf` package is not installed.
            MalformedCheckpointError: the file ends too early.
            NonFiniteTensorError: a number is NaN or infinite.
        """
        tensor = self.tensors[name]
        if tensor.type_number in _PLAIN_DTYPES:
            with self.path.open("rb", buffering=0) as file:
                return stream_elements(
                    file,
                    tensor.offset,
                    _PLAIN_DTYPES[tensor.type_number],
                    tensor.shape,
                    dtype=dtype,
                    device=device,
                    name=name,
                )
        return self._read_quantised(name, tensor, dtype=dtype, device=device)

    def _read_quantised(
        self, name: str, tensor: GgufTensor, *, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "..."]:
        gguf = _gguf_package(self.path)
        quantisation = gguf.GGMLQuantizationType(tensor.type_number)
        row_length = tensor.shape[-1]
        bytes_per_row = _n_bytes(self.path, name, tensor) // max(1, math.prod(tensor.shape[:-1]))
        rows_per_piece = max(1, ELEMENTS_PER_PIECE // row_length)

        with self.path.open("rb", buffering=0) as file:

            def read_piece(start: int, stop: int, place: Tensor | None) -> Tensor:
                file.seek(tensor.offset + start // row_length * bytes_per_row)
                # As one long row: `dequantize` takes a few rows at a time, which is slow where rows are short.
                raw = np.frombuffer(file.read((stop - start) // row_length * bytes_per_row), dtype=np.uint8)[None]
                try:
                    return torch.from_numpy(gguf.dequantize(raw, quantisation)).view(-1)
                except NotImplementedError as error:
                    raise UnsupportedCheckpointError(
                        f"{self.path}: tensor {name!r} is quantised as {quantisation.name}, which the installed gguf "
                        "package cannot dequantise. Use a file of another quantisation.",
                        file=self.path,
                        tensor=name,
                    ) from error

            return fill_in_pieces(
                tensor.shape,
                read_piece,
                stored_dtype=torch.float32,
                dtype=dtype,
                device=device,
                file=str(self.path),
                name=name,
                elements_per_piece=rows_per_piece * row_length,
            )


def _read_preamble(cursor: GgufCursor) -> tuple[int, int]:
    """How many tensors and how many metadata entries the file has."""
    if cursor.take(4) != b"GGUF":
        raise MalformedCheckpointError(
            f"{cursor.path} is no GGUF file: it does not begin with 'GGUF'.", file=cursor.path
        )
    version = cursor.scalar("<I")
    if version not in (2, 3):
        raise UnsupportedCheckpointError(
            f"{cursor.path} is a GGUF file of version {version} or of the other byte order; versions 2 and 3, "
            "little-endian, are read. llama.cpp's tools convert older files.",
            file=cursor.path,
        )
    return cursor.scalar("<Q"), cursor.scalar("<Q")


def _tensor_entry(cursor: GgufCursor, name: str) -> GgufTensor:
    """A tensor as listed; its offset is still counted from where the data begin."""
    n_dimensions = cursor.scalar("<I")
    if n_dimensions > _MOST_DIMENSIONS:
        raise MalformedCheckpointError(
            f"{cursor.path}: tensor {name!r} would have {n_dimensions} axes.", file=cursor.path, tensor=name
        )
    shape = tuple(reversed([cursor.scalar("<Q") for _ in range(n_dimensions)]))
    type_number, offset = cursor.scalar("<I"), cursor.scalar("<Q")
    return GgufTensor(offset, type_number, shape)


def _n_bytes(path: Path, name: str, tensor: GgufTensor) -> int:
    """How many bytes of the file a tensor takes."""
    n_elements = math.prod(tensor.shape)
    if tensor.type_number in _PLAIN_DTYPES:
        return n_elements * _PLAIN_DTYPES[tensor.type_number].itemsize
    gguf = _gguf_package(path)
    try:
        block_length, bytes_per_block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(tensor.type_number)]
    except (ValueError, KeyError) as error:
        raise UnsupportedCheckpointError(
            f"{path}: tensor {name!r} is of type {tensor.type_number}, which the installed gguf package does not know. "
            "A newer one may (pip install -U gguf).",
            file=path,
            tensor=name,
        ) from error
    if not tensor.shape or tensor.shape[-1] % block_length:
        raise MalformedCheckpointError(
            f"{path}: tensor {name!r} of shape {list(tensor.shape)} cannot be made of blocks of {block_length}.",
            file=path,
            tensor=name,
        )
    return n_elements // block_length * bytes_per_block


def _gguf_package(path: Path) -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingPackageError("gguf", "gguf", f"{path} holds quantised weights") from error
    return gguf
