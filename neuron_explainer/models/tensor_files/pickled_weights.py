"""State dicts that PyTorch pickled: one file or several (shards), of which one at a time is in memory."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError
from neuron_explainer.models.tensor_files.pytorch_files import read_pytorch_file
from neuron_explainer.models.tensor_files.raw_tensors import check_finite
from neuron_explainer.models.tensor_files.several_files import TensorsInFiles


class PickledReader(TensorsInFiles):
    """The tensors of one or several pickled state dicts; a `TensorReader`.

    PyTorch reads a file as a whole. Each is read once for names and shapes, and again for its tensors, unless it is the
    only one or the latest.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the names and shapes.

        Raises:
            UnsupportedCheckpointError: a file holds more than tensors.
            MalformedCheckpointError: a file is damaged or not a state dict, or two files have a tensor of one name.
        """
        super().__init__(files)
        self._latest: tuple[Path, dict[str, Tensor]] | None = None
        self._entries: dict[str, tuple[Path, tuple[int, ...], str]] = {}
        for file in files:
            for name, tensor in self._content(file).items():
                if name in self._entries:
                    raise MalformedCheckpointError(
                        f"Tensor {name!r} is in {self._entries[name][0]} and in {file}; it must be in one of them.",
                        file=file,
                        tensor=name,
                    )
                self._entries[name] = (file, tuple(tensor.shape), str(tensor.dtype))

    def file_of(self, name: str | None) -> Path | None:
        """See the base class."""
        return self._entries[name][0] if name in self._entries else None

    def names(self) -> Collection[str]:
        """The names of all tensors."""
        return self._entries.keys()

    def names_in(self, file: Path) -> Collection[str]:
        """The names of a file's tensors."""
        return {name for name, (owner, _, _) in self._entries.items() if owner == file}

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._entries[name][1]

    def dtype(self, name: str) -> str:
        """A tensor's dtype, such as "torch.float32"."""
        return self._entries[name][2]

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor. In the file's own dtype it is a part of what was read, and takes no further memory.

        Raises:
            UnsupportedCheckpointError: it is not of floating-point numbers.
            NonFiniteTensorError: a number is NaN or infinite.
        """
        file = self._entries[name][0]
        stored = self._content(file)[name]
        if not stored.is_floating_point():
            raise UnsupportedCheckpointError(
                f"{file}: tensor {name!r} has dtype {stored.dtype}. Weights must be of floating point.",
                file=file,
                tensor=name,
            )
        tensor = stored.to(device=device, dtype=dtype)
        check_finite(tensor, file=str(file), name=name)
        return tensor

    def _content(self, file: Path) -> dict[str, Tensor]:
        if self._latest is None or self._latest[0] != file:
            self._latest = None  # the memory of one file is free before the next one is read
            content = read_pytorch_file(file)
            if not isinstance(content, Mapping) or not all(
                isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
            ):
                raise MalformedCheckpointError(f"{file} is not a state dict: tensors by name.", file=file)
            self._latest = file, {name: tensor.detach() for name, tensor in content.items()}
        return self._latest[1]
