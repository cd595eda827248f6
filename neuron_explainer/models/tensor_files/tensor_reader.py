"""The tensors of a checkpoint, in whatever format: by name, with shapes that are known before they are read."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class TensorReader(Protocol):
    """A checkpoint's tensors, under the names in Hugging Face's checkpoints of the family."""

    def names(self) -> Collection[str]:
        """The names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""

    def where(self, name: str | None = None) -> str:
        """The file of a tensor, or the file or folder of the whole checkpoint; for errors."""

    def stored_name(self, name: str) -> str:
        """The tensor's name in the file itself; for errors."""

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor; all its numbers are finite.

        Raises:
            CheckpointError: the tensor cannot be read, or is not finite.
        """
