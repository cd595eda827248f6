"""Copies of a model in another dtype."""

from __future__ import annotations

import copy

import torch

from neuron_explainer.models.offload.free_memory import free_bytes
from neuron_explainer.models.transformer import Transformer

_SHARE_OF_FREE = 0.5


def in_dtype(model: Transformer, dtype: torch.dtype) -> Transformer:
    """The model in another dtype: itself, or a copy that has its changes."""
    return model if model.dtype == dtype else copy.deepcopy(model).to(dtype)


def can_be_copied(model: torch.nn.Module) -> bool:
    """Whether a copy would be another model: one with a replaced method would call what belongs to the first one."""
    return not any(callable(getattr(type(module), name, None)) for module in model.modules() for name in vars(module))


def why_not_in(dtype: torch.dtype, model: Transformer) -> str | None:
    """Why a model, or it and its reference, cannot be copied into a dtype; None if they can.

    Args:
        dtype: the dtype.
        model: the model.
    """
    if model.is_offloaded:
        return "its weights stay on the disk (offload)"
    if not can_be_copied(model):
        return "a method of the model was replaced, so it cannot be copied"
    if model.device.type == "mps" and dtype == torch.float64:
        return "MPS does not have it"
    needed = 2 * dtype.itemsize * sum(weight.numel() for weight in model.parameters())
    free = free_bytes(model.device)
    if free is not None and needed > _SHARE_OF_FREE * free:
        return f"copies need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
    return None
