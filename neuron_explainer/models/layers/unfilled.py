"""Weights: created without memory, filled later, never differentiated."""

import torch
from torch import Tensor, nn


def unfilled(*shape: int) -> nn.Parameter:
    """A weight that has a shape but no data yet; `fill` gives it data."""
    return nn.Parameter(torch.empty(shape, dtype=torch.float32, device="meta"), requires_grad=False)


def fill(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Make a tensor the parameter with this dotted name; its memory is shared."""
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, nn.Parameter(tensor, requires_grad=False))


def parameter_names(module: nn.Module) -> list[str]:
    """The names of all parameters; `named_parameters` would read those that are on disk."""
    return [f"{path}.{leaf}" if path else leaf for path, each in module.named_modules() for leaf in each._parameters]
