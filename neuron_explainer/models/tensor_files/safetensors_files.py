"""Tensors from safetensors files, one or several (shards), streamed."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError
from neuron_explainer.models.tensor_files.raw_tensors import read_exactly, stream_elements, stream_rows
from neuron_explainer.models.tensor_files.several_files import TensorsInFiles
from neuron_explainer.storage.safetensors_header import SafetensorsError, TensorEntry, read_safetensors_header

_TORCH_DTYPE = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


class SafetensorsReader(TensorsInFiles):
    """The tensors of one or several safetensors files; a `TensorReader`."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the headers of the files.

        Raises:
            MalformedCheckpointError: a header is invalid, a file is shorter than its header says, or two files have a
                tensor of the same name.
        """
        super().__init__(files)
        self._entries: dict[str, tuple[Path, TensorEntry]] = {}
        for file in files:
            for name, entry in read_header(file).items():
                if name in self._entries:
                    raise MalformedCheckpointError(
                        f"Tensor {name!r} is in {self._entries[name][0]} and in {file}; it must be in one of them.",
                        file=file,
                        tensor=name,
                    )
                self._entries[name] = (file, entry)

    def file_of(self, name: str | None) -> Path | None:
        """See the base class."""
        return self._entries[name][0] if name in self._entries else None

    def names(self) -> Collection[str]:
        """The names of all tensors."""
        return self._entries.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._entries[name][1].shape

    def dtype(self, name: str) -> str:
        """The format's name of a tensor's dtype, such as "F32"."""
        return self._entries[name][1].dtype

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor, streamed from its file.

        Raises:
            UnsupportedCheckpointError: its elements are not floating-point numbers of 16 bits or more.
            MalformedCheckpointError: the file ends too early.
            NonFiniteTensorError: an element is NaN or infinite.
        """
        path, entry = self._readable(name)
        with path.open("rb", buffering=0) as file:
            return stream_elements(
                file, entry.start, _TORCH_DTYPE[entry.dtype], entry.shape, dtype=dtype, device=device, name=name
            )

    def read_rows(
        self, name: str, rows: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "rows ..."]:
        """Some rows of a tensor. Errors are those of `read`."""
        path, entry = self._readable(name)
        with path.open("rb", buffering=0) as file:
            return stream_rows(
                file, entry.start, _TORCH_DTYPE[entry.dtype], entry.shape, rows, dtype=dtype, device=device, name=name
            )

    def _readable(self, name: str) -> tuple[Path, TensorEntry]:
        path, entry = self._entries[name]
        if entry.dtype not in _TORCH_DTYPE:
            raise UnsupportedCheckpointError(
                f"{path}: tensor {name!r} has dtype {entry.dtype}. Supported: {', '.join(_TORCH_DTYPE)}. A quantised "
                "model can be loaded from a GGUF file.",
                file=path,
                tensor=name,
            )
        return path, entry

    def read_bytes(self, name: str, index: int) -> UInt8[Tensor, " bytes"]:
        """The bytes of one entry on the first axis of a tensor of bytes.

        Raises:
            MalformedCheckpointError: the file ends too early.
        """
        path, entry = self._entries[name]
        n_bytes = math.prod(entry.shape[1:])
        with path.open("rb", buffering=0) as file:
            file.seek(entry.start + index * n_bytes)
            content = torch.empty(n_bytes, dtype=torch.uint8, device="cpu")
            read_exactly(file, content, name)
        return content


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a safetensors file, by name.

    Raises:
        MalformedCheckpointError: it is not a valid safetensors file, or it is cut off.
    """
    with path.open("rb") as file:
        try:
            return read_safetensors_header(file)
        except SafetensorsError as error:
            raise MalformedCheckpointError(
                f"{path} is not a valid safetensors file: {error}. Copy or download it again.",
                file=path,
                tensor=error.tensor,
            ) from error
