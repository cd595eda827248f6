"""Tensors from safetensors files, one or several (shards), streamed."""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError
from neuron_explainer.models.tensor_files.raw_tensors import stream_elements

_DTYPE_BY_CODE = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_BYTES_BY_OTHER_CODE = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8}
_LARGEST_HEADER = 100_000_000  # the format's own limit, in bytes


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is: its file, its first byte there, its type's code and its shape."""

    file: Path
    offset: int
    code: str
    shape: tuple[int, ...]


class SafetensorsReader:
    """The tensors of one or several safetensors files; a `TensorReader`."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the headers of `files`.

        Raises:
            MalformedCheckpointError: a header is no safetensors header, a file is shorter than its header says, or two
                files hold a tensor of the same name.
        """
        self._files = list(files)
        self._tensors: dict[str, StoredTensor] = {}
        for file in files:
            for name, tensor in read_header(file).items():
                if name in self._tensors:
                    raise MalformedCheckpointError(
                        f"Tensor {name!r} is in {self._tensors[name].file} and in {file}; it must be in one of them.",
                        file=file,
                        tensor=name,
                    )
                self._tensors[name] = tensor

    def names(self) -> Collection[str]:
        """All tensors that there are."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._tensors[name].shape

    def where(self, name: str | None = None) -> str:
        """The file that holds a tensor; without a name, the file, or the folder of several."""
        if name in self._tensors:
            return str(self._tensors[name].file)
        return str(self._files[0] if len(self._files) == 1 else self._files[0].parent)

    def stored_name(self, name: str) -> str:
        """The name itself."""
        return name

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor's numbers, streamed from its file.

        Raises:
            UnsupportedCheckpointError: they are no floating-point numbers of 16 bits or more.
            MalformedCheckpointError: the file ends too early.
            NonFiniteTensorError: one is NaN or infinite.
        """
        stored = self._tensors[name]
        if stored.code not in _DTYPE_BY_CODE:
            raise UnsupportedCheckpointError(
                f"{stored.file}: tensor {name!r} is stored as {stored.code}; weights are read from "
                f"{', '.join(_DTYPE_BY_CODE)}. A quantised checkpoint can be read as a GGUF file.",
                file=stored.file,
                tensor=name,
            )
        with stored.file.open("rb", buffering=0) as file:
            return stream_elements(
                file, stored.offset, _DTYPE_BY_CODE[stored.code], stored.shape, dtype=dtype, device=device, name=name
            )


def read_header(file: Path) -> dict[str, StoredTensor]:
    """What a safetensors file holds, by name.

    The file begins with the header's length (8 bytes, little-endian) and the header (JSON): for each tensor its type,
    its shape, and its first and last byte, counted from the end of the header.

    Raises:
        MalformedCheckpointError: it is no such file, or it is cut off.
    """
    n_bytes = file.stat().st_size
    with file.open("rb") as opened:
        header_length = int.from_bytes(opened.read(8), "little")
        if n_bytes < 8 or header_length > min(n_bytes - 8, _LARGEST_HEADER):
            raise MalformedCheckpointError(
                f"{file} ({n_bytes} bytes) is no whole safetensors file: its header would be {header_length} bytes "
                "long. Copy or download it again.",
                file=file,
            )
        raw_header = opened.read(header_length)
    try:
        header = json.loads(raw_header)
    except ValueError as error:
        raise MalformedCheckpointError(f"{file} is no safetensors file: its header is no JSON.", file=file) from error
    if not isinstance(header, dict):
        raise MalformedCheckpointError(f"{file} is no safetensors file: its header is no JSON object.", file=file)
    data_start = 8 + header_length
    return {
        name: _stored_tensor(file, name, entry, data_start, n_bytes)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _stored_tensor(file: Path, name: str, entry: Any, data_start: int, n_bytes: int) -> StoredTensor:
    match entry:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if all(
            isinstance(size, int) and size >= 0 for size in shape
        ):
            pass
        case _:
            raise MalformedCheckpointError(f"{file}: the header's entry {name!r} is malformed.", file=file, tensor=name)
    if data_start + end > n_bytes:
        raise MalformedCheckpointError(
            f"{file} is cut off: it has {n_bytes} bytes, and tensor {name!r} ends at byte {data_start + end}. "
            "Copy or download it again.",
            file=file,
            tensor=name,
        )
    n_bytes_each = _DTYPE_BY_CODE[code].itemsize if code in _DTYPE_BY_CODE else _BYTES_BY_OTHER_CODE.get(code)
    if begin < 0 or end < begin or (n_bytes_each is not None and end - begin != math.prod(shape) * n_bytes_each):
        raise MalformedCheckpointError(
            f"{file}: tensor {name!r} of type {code} and shape {shape} cannot lie in bytes {begin} to {end}.",
            file=file,
            tensor=name,
        )
    return StoredTensor(file, data_start + begin, code, tuple(shape))
