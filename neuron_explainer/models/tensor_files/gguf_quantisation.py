"""Quantised tensors of GGUF files: their size, and their numbers by the `gguf` package."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, MissingPackageError, UnsupportedCheckpointError
from neuron_explainer.models.tensor_files.raw_tensors import ELEMENTS_PER_PIECE, fill_in_pieces, stacked_rows


def quantised_bytes(path: Path, name: str, type_number: int, shape: tuple[int, ...]) -> int:
    """How many bytes of its file a quantised tensor takes.

    Args:
        path: the file, for errors.
        name: the tensor's name, for errors.
        type_number: the number of its type.
        shape: its shape.

    Raises:
        UnsupportedCheckpointError: the installed `gguf` package does not know the type.
        MissingPackageError: the `gguf` package is not installed.
        MalformedCheckpointError: the rows are not made of whole blocks of this type.
    """
    gguf = _gguf_package(path)
    try:
        block_length, bytes_per_block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(type_number)]
    except (ValueError, KeyError) as error:
        raise UnsupportedCheckpointError(
            f"{path}: tensor {name!r} has type {type_number}, which the installed gguf package does not know. A newer "
            "version may (pip install -U gguf).",
            file=path,
            tensor=name,
        ) from error
    if not shape or shape[-1] % block_length:
        raise MalformedCheckpointError(
            f"{path}: tensor {name!r} has shape {list(shape)}; its rows must be whole blocks of {block_length}.",
            file=path,
            tensor=name,
        )
    return math.prod(shape) // block_length * bytes_per_block


def read_quantised(
    path: Path,
    name: str,
    offset: int,
    type_number: int,
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> Float[Tensor, "..."]:
    """A quantised tensor, dequantised a few rows at a time.

    Args:
        path: the file.
        name: the tensor's name, for errors.
        offset: its first byte in the file.
        type_number: the number of its type.
        shape: its shape.
        dtype: the dtype of the result.
        device: where the result goes.

    Raises:
        UnsupportedCheckpointError: the installed `gguf` package cannot dequantise this type.
        MissingPackageError: the `gguf` package is not installed.
        NonFiniteTensorError: a number is NaN or infinite.
    """
    gguf = _gguf_package(path)
    quantisation = gguf.GGMLQuantizationType(type_number)
    row_length = shape[-1]
    bytes_per_row = quantised_bytes(path, name, type_number, shape) // max(1, math.prod(shape[:-1]))
    rows_per_piece = max(1, ELEMENTS_PER_PIECE // row_length)

    with path.open("rb", buffering=0) as file:

        def read_piece(start: int, stop: int, destination: Tensor | None) -> Tensor:
            file.seek(offset + start // row_length * bytes_per_row)
            return _dequantised(path, name, file.read((stop - start) // row_length * bytes_per_row), quantisation)

        return fill_in_pieces(
            shape,
            read_piece,
            stored_dtype=torch.float32,
            dtype=dtype,
            device=device,
            file=str(path),
            name=name,
            elements_per_piece=rows_per_piece * row_length,
        )


def read_quantised_rows(
    path: Path,
    name: str,
    offset: int,
    type_number: int,
    shape: tuple[int, ...],
    rows: Sequence[int],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> Float[Tensor, "rows ..."]:
    """Some rows of a quantised matrix, dequantised. Args and errors are those of `read_quantised`."""
    quantisation = _gguf_package(path).GGMLQuantizationType(type_number)
    bytes_per_row = quantised_bytes(path, name, type_number, shape) // max(1, shape[0])

    with path.open("rb", buffering=0) as file:

        def read_row(row: int) -> Tensor:
            file.seek(offset + row * bytes_per_row)
            return _dequantised(path, name, file.read(bytes_per_row), quantisation)

        return stacked_rows(shape, rows, read_row, dtype=dtype, device=device, file=str(path), name=name)


def _dequantised(path: Path, name: str, content: bytes, quantisation: Any) -> Float[Tensor, " numbers"]:
    # As one long row: `dequantize` takes a few rows at a time, which is slow if rows are short.
    raw = np.frombuffer(content, dtype=np.uint8)[None]
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused when all of it is checked
            return torch.from_numpy(_gguf_package(path).dequantize(raw, quantisation)).view(-1)
    except NotImplementedError as error:
        raise UnsupportedCheckpointError(
            f"{path}: tensor {name!r} is quantised as {quantisation.name}, which the installed gguf package "
            "cannot dequantise. Use a file with another quantisation.",
            file=path,
            tensor=name,
        ) from error


def _gguf_package(path: Path) -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingPackageError("gguf", "gguf", f"{path} holds quantised weights") from error
    return gguf
