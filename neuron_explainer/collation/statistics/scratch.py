"""Memory for intermediate results that is used again and again, so that it stays in a processor's cache."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Scratch:
    """Hands out the same memory whenever the same name asks: what was there before is overwritten.

    Newly allocated memory is read and written several times more slowly than memory that is in the cache.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin without memory.

        Args:
            device: where it will be.
        """
        self._device = device
        self._held: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor of that shape, with anything in it. It lies where the name's last tensor of the dtype lay."""
        n = math.prod(shape)
        held = self._held.get((name, dtype))
        if held is None or held.numel() < n:
            held = self._held[name, dtype] = torch.empty(n, dtype=dtype, device=self._device)
        return held[:n].view(*shape)
