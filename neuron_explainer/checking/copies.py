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


def why_not_exact(model: Transformer, n_copies: int) -> str | None:
    """Why so many copies in float64 cannot be made; None if they can.

    Args:
        model: the model.
        n_copies: how many.
    """
    if model.is_offloaded:
        return "its weights stay on the disk (offload)"
    if model.device.type == "mps":
        return "MPS has no float64"
    needed = sum(weight.numel() for weight in model.parameters()) * 8 * n_copies
    free = free_bytes(model.device)
    if free is not None and needed > _SHARE_OF_FREE * free:
        return f"{needed / 2**30:.1f} GiB are needed for that, and {free / 2**30:.1f} GiB are free"
    return None
