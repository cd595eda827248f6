"""What every kind of checkpoint offers: named tensors, whose shapes are known before they are read."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class TensorReader(Protocol):
    """A checkpoint's tensors, under the names that Hugging Face's checkpoints of the family give them."""

    def names(self) -> Collection[str]:
        """All tensors that there are."""

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""

    def where(self, name: str | None = None) -> str:
        """The file (or other place) that holds a tensor, or the checkpoint as a whole."""

    def stored_name(self, name: str) -> str:
        """The name that the file itself gives the tensor."""

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor's numbers, all finite.

        Raises:
            CheckpointError: the numbers cannot be read, or are not finite.
        """
