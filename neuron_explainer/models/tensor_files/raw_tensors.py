"""Reading a tensor from a file: once, piece by piece, with a check of every number.

A checkpoint can be as large as the memory. So a tensor's bytes go from the file straight into the tensor that the model
keeps; if the dtype or the device differs, through a small buffer. A memory map is not used, because its pages would
take memory beside the tensors that are copied from it.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, NonFiniteTensorError
from neuron_explainer.models.tensor_files.own_memory import new_tensor

ELEMENTS_PER_PIECE = 30_000
"""How many numbers are read, converted and checked at a time.

So few stay in the processor's cache from one step to the next. From 2^15 numbers on PyTorch uses several threads, and
waiting for them would take much longer than the step itself.
"""


def stream_elements(
    file: BinaryIO,
    offset: int,
    stored_dtype: torch.dtype,
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype,
    device: torch.device,
    name: str,
) -> Float[Tensor, "..."]:
    """Read a tensor that is stored as plain little-endian numbers, row by row.

    Args:
        file: open for reading, unbuffered.
        offset: where in the file the tensor's bytes start.
        stored_dtype: the dtype of the numbers in the file.
        shape: the tensor's shape.
        dtype: the dtype of the result.
        device: where the result goes.
        name: the tensor's name, for errors.

    Raises:
        MalformedCheckpointError: the file ends before the tensor does.
        NonFiniteTensorError: a number is NaN or infinite, as stored or in `dtype`.
    """
    file.seek(offset)
    read_piece = partial(_next_piece, file, stored_dtype, name)
    return fill_in_pieces(
        shape, read_piece, stored_dtype=stored_dtype, dtype=dtype, device=device, file=file.name, name=name
    )


def _next_piece(
    file: BinaryIO, stored_dtype: torch.dtype, name: str, start: int, stop: int, destination: Tensor | None
) -> Float[Tensor, " elements"]:
    piece = destination
    if piece is None:
        piece = torch.empty(stop - start, dtype=stored_dtype, device="cpu")
    read_exactly(file, piece, name)
    return piece


def stream_rows(
    file: BinaryIO,
    offset: int,
    stored_dtype: torch.dtype,
    shape: tuple[int, ...],
    rows: Sequence[int],
    *,
    dtype: torch.dtype,
    device: torch.device,
    name: str,
) -> Float[Tensor, "rows ..."]:
    """Read some rows of a tensor that is stored as plain little-endian numbers. Args and errors: `stream_elements`."""
    read_row = partial(_plain_row, file, offset, stored_dtype, math.prod(shape[1:]), name)
    return stacked_rows(shape, rows, read_row, dtype=dtype, device=device, file=file.name, name=name)


def _plain_row(
    file: BinaryIO, offset: int, stored_dtype: torch.dtype, width: int, name: str, row: int
) -> Float[Tensor, " width"]:
    stored = torch.empty(width, dtype=stored_dtype, device="cpu")
    file.seek(offset + row * width * stored_dtype.itemsize)
    read_exactly(file, stored, name)
    return stored


def stacked_rows(
    shape: tuple[int, ...],
    rows: Sequence[int],
    read_row: Callable[[int], Tensor],
    *,
    dtype: torch.dtype,
    device: torch.device,
    file: str,
    name: str,
) -> Float[Tensor, "rows ..."]:
    """Some rows of a tensor, each read, converted and checked by itself.

    Args:
        shape: the shape of the whole tensor.
        rows: which rows.
        read_row: gives one row, flat.
        dtype: the dtype of the result.
        device: where the result goes.
        file: the file's name, for errors.
        name: the tensor's name, for errors.

    Raises:
        NonFiniteTensorError: a number is NaN or infinite, as stored or in `dtype`.
    """
    width = math.prod(shape[1:])
    result = torch.empty(len(rows), width, dtype=dtype, device="cpu")
    for place, row in enumerate(rows):
        result[place] = read_row(row)
        if not _is_finite(result[place]):
            _raise_non_finite(result[place], row * width, shape, file=file, name=name)
    return result.view(len(rows), *shape[1:]).to(device)


def fill_in_pieces(
    shape: tuple[int, ...],
    read_piece: Callable[[int, int, Tensor | None], Tensor],
    *,
    stored_dtype: torch.dtype,
    dtype: torch.dtype,
    device: torch.device,
    file: str,
    name: str,
    elements_per_piece: int = ELEMENTS_PER_PIECE,
) -> Float[Tensor, "..."]:
    """Build a tensor from consecutive pieces, each converted and checked as it is read.

    Args:
        shape: the tensor's shape.
        read_piece: called with the first and one past the last element, and a flat tensor to read them into (or None);
            returns the flat piece.
        stored_dtype: the dtype of the pieces.
        dtype: the dtype of the result.
        device: where the result goes.
        file: the file's name, for errors.
        name: the tensor's name, for errors.
        elements_per_piece: the largest number of elements in a piece.

    Raises:
        NonFiniteTensorError: a number is NaN or infinite, as stored or in `dtype`.
    """
    result = new_tensor(shape, dtype, device)
    flat = result.view(-1)
    in_place = device.type == "cpu" and dtype == stored_dtype and sys.byteorder == "little"
    for start, stop in _pieces(math.prod(shape), elements_per_piece):
        destination = flat[start:stop]
        piece = read_piece(start, stop, destination if in_place else None)
        # Converted before it goes to another device: fewer bytes travel, and the check does not wait for that device.
        piece = piece.to(dtype)
        if not _is_finite(piece):
            _raise_non_finite(piece, start, shape, file=file, name=name)
        if piece.data_ptr() != destination.data_ptr():
            destination.copy_(piece)
    return result


def check_finite(tensor: Float[Tensor, "..."], *, file: str, name: str) -> None:
    """Refuse a tensor with NaN or infinity in it.

    This takes one pass over the numbers and no memory of their size: a sum is finite only if all its terms are. Only
    if a sum is not finite (it may have overflowed) is each number checked.

    Raises:
        NonFiniteTensorError: a number is NaN or infinite.
    """
    if tensor.is_contiguous():
        flat = tensor.detach().view(-1)
        for start, stop in _pieces(flat.numel(), ELEMENTS_PER_PIECE):
            if not _is_finite(flat[start:stop]):
                _raise_non_finite(flat[start:stop], start, tuple(tensor.shape), file=file, name=name)
    elif not bool(torch.isfinite(tensor).all()):
        _raise_non_finite(tensor.detach().reshape(-1), 0, tuple(tensor.shape), file=file, name=name)


def _is_finite(piece: Float[Tensor, "..."]) -> bool:
    accumulator = torch.float64 if piece.dtype == torch.float64 else torch.float32
    return math.isfinite(piece.sum(dtype=accumulator).item()) or bool(torch.isfinite(piece).all())


def _raise_non_finite(
    piece: Float[Tensor, " elements"], start: int, shape: tuple[int, ...], *, file: str, name: str
) -> None:
    bad = (~torch.isfinite(piece)).nonzero().view(-1)
    index = _unravel(start + int(bad[0]), shape)
    raise NonFiniteTensorError(
        f"{file}: tensor {name!r} is {float(piece[bad[0]])} at {list(index)} in {piece.dtype}; weights must be finite. "
        "If the stored number is too large for this dtype, load the model with a wider one (dtype='float32').",
        file=file,
        tensor=name,
    )


def _unravel(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index: list[int] = []
    for size in reversed(shape):
        position, index_in_axis = divmod(position, size)
        index.append(index_in_axis)
    return tuple(reversed(index))


def _pieces(n_elements: int, per_piece: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_elements, per_piece):
        yield start, min(start + per_piece, n_elements)


def read_exactly(file: BinaryIO, destination: Shaped[Tensor, " elements"], name: str) -> None:
    """Fill a flat CPU tensor with the file's next bytes."""
    view = memoryview(destination.view(torch.uint8).numpy().data)
    position = 0
    while position < len(view):
        count = file.readinto(view[position:])  # type: ignore[attr-defined]
        if not count:
            raise MalformedCheckpointError(
                f"{file.name} is cut off: {len(view) - position} bytes of tensor {name!r} are missing. Copy or "
                "download it again.",
                file=file.name,
                tensor=name,
            )
        position += count
    if sys.byteorder == "big":
        destination.copy_(torch.from_numpy(destination.numpy().byteswap()))
