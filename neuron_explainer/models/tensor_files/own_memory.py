"""Memory that belongs to one tensor alone, and goes back to the system as soon as the tensor is let go of.

Tensors share a heap otherwise. Small tensors that stay, such as recorded activations, then lie in the holes that
weights have left, and the next weights need new memory: a model that reads one layer after the other would grow.
"""

import math
import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

_FEWEST_BYTES = 2**16
"""Smaller tensors stay on the heap: memory comes in pages, and asking for it takes some microseconds."""


class _OfThisThread(threading.local):
    def __init__(self) -> None:
        self.is_wanted = False


_local = _OfThisThread()


@contextmanager
def memory_of_its_own() -> Iterator[None]:
    """Within this context, each large tensor that this thread reads from a file gets memory of its own."""
    before, _local.is_wanted = _local.is_wanted, True
    try:
        yield
    finally:
        _local.is_wanted = before


def new_tensor(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
    """A tensor without content, on the heap or in memory of its own."""
    n_bytes = math.prod(shape) * dtype.itemsize
    if not _local.is_wanted or device.type != "cpu" or n_bytes < _FEWEST_BYTES:
        return torch.empty(shape, dtype=dtype, device=device)
    is_unix = hasattr(mmap, "MAP_ANONYMOUS")
    memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if is_unix else mmap.mmap(-1, n_bytes)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
