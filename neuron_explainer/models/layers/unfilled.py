"""Weights: made without memory, filled later, never differentiated."""

import torch
from torch import Tensor, nn


def unfilled(*shape: int) -> nn.Parameter:
    """A weight of which only the shape is known yet; `fill` gives it its numbers."""
    return nn.Parameter(torch.empty(shape, device="meta"), requires_grad=False)


def fill(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Let a dotted parameter name stand for a tensor, whose memory is shared."""
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, nn.Parameter(tensor, requires_grad=False))
