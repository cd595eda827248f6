"""The header of a safetensors file, read and checked.

The format (https://github.com/huggingface/safetensors): 8 bytes with the header's length (little-endian), the header (a
JSON object with dtype, shape, first and last byte of each tensor), then the tensors' bytes in little-endian C order.
"""

import math
import os
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

BYTES_BY_DTYPE = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "U16": 2,
    "I16": 2,
    "U32": 4,
    "I32": 4,
    "U64": 8,
    "I64": 8,
    "F16": 2,
    "BF16": 2,
    "F32": 4,
    "F64": 8,
}
"""The bytes of one element, by the format's name of its dtype."""

LARGEST_HEADER = 100_000_000
"""The format's own limit of a header's length, in bytes."""
METADATA = "__metadata__"
_MOST_AXES = 16
_LONGEST_AXIS = 2**48
_MOST_SHOWN = 80


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor is in its file.

    Attributes:
        dtype: the format's name of the element type, such as "F32".
        shape: the lengths of its axes.
        start: its first byte, counted from the beginning of the file.
        end: one past its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafetensorsError(ValueError):
    """A safetensors file is not valid. `tensor` names the tensor that is wrong, if it is one."""

    def __init__(self, problem: str, tensor: str | None = None) -> None:
        self.tensor = tensor
        super().__init__(problem)


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass(frozen=True)
class SafetensorsHeader:
    """The header of a safetensors file: its tensors by name, and its metadata, which are checked when asked for."""

    tensors: dict[str, TensorEntry]
    _metadata: msgspec.Raw

    def metadata(self) -> dict[str, str]:
        """The metadata: texts by name.

        Raises:
            SafetensorsError: they are not texts.
        """
        try:
            return msgspec.json.decode(self._metadata, type=dict[str, str])
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise SafetensorsError(f"its metadata are malformed: {error}") from None


def read_safetensors_header(file: BinaryIO, largest_header: int = LARGEST_HEADER) -> dict[str, TensorEntry]:
    """The tensors of a safetensors file, by name; see `read_whole_header`."""
    return read_whole_header(file, largest_header).tensors


def read_whole_header(file: BinaryIO, largest_header: int = LARGEST_HEADER) -> SafetensorsHeader:
    """The tensors and the metadata of a safetensors file. Only the header is read.

    Args:
        file: open for reading, at its beginning.
        largest_header: a longer header is refused, in bytes.

    Raises:
        SafetensorsError: the file is cut off, the header is malformed or too long, or a tensor does not lie within the
            file or has another size than its dtype and shape.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    length = file.read(8)
    if len(length) < 8:
        raise SafetensorsError(f"the file has {n_bytes} bytes, too few for a safetensors file")
    header_length = int.from_bytes(length, "little")
    if header_length > n_bytes - 8:
        raise SafetensorsError(f"the header length {header_length:,} exceeds the file ({n_bytes:,} bytes)")
    if header_length > largest_header:
        raise SafetensorsError(f"the header length {header_length:,} exceeds the limit of {largest_header:,} bytes")
    try:
        fields = msgspec.json.decode(file.read(header_length), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise SafetensorsError(f"the header is not a JSON object: {error}") from None
    metadata = fields.pop(METADATA, msgspec.Raw(b"{}"))
    tensors = {name: _checked(name, raw, 8 + header_length, n_bytes) for name, raw in fields.items()}
    return SafetensorsHeader(tensors, metadata)


def _checked(name: str, raw: msgspec.Raw, data_start: int, n_bytes: int) -> TensorEntry:
    shown = repr(name[:_MOST_SHOWN])
    try:
        entry = msgspec.json.decode(raw, type=_Entry)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise SafetensorsError(f"the header's entry {shown} is malformed: {error}", name) from None
    if len(entry.shape) > _MOST_AXES or not all(0 <= length <= _LONGEST_AXIS for length in entry.shape):
        raise SafetensorsError(f"the shape of {shown} is not valid", name)
    begin, end = entry.data_offsets
    if data_start + end > n_bytes:
        raise SafetensorsError(
            f"the file is cut off: it has {n_bytes:,} bytes, but {shown} ends at byte {data_start + end:,}", name
        )
    bytes_each = BYTES_BY_DTYPE.get(entry.dtype)
    if not 0 <= begin <= end or (bytes_each is not None and end - begin != math.prod(entry.shape) * bytes_each):
        raise SafetensorsError(
            f"{shown} has {end - begin:,} bytes, which do not fit its dtype {entry.dtype[:20]} and its shape", name
        )
    return TensorEntry(entry.dtype, tuple(entry.shape), data_start + begin, data_start + end)
