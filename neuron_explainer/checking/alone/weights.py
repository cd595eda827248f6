"""Weights: finite numbers of a dtype that passes are computed in, none of them left as it was made."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.checking.formulas.recomputed import ALLOWED
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.transformer import Transformer


def refuse_what_cannot_run(model: Transformer) -> None:
    """Refuse a model without weights, or with weights in which no pass is computed.

    Raises:
        InvalidRequestError: it is such a model.
    """
    if model.is_offloaded:
        return
    for weight in model.parameters():
        if weight.is_meta:
            raise InvalidRequestError("The model has no weights (meta device). Load it.")
        if weight.dtype not in ALLOWED:
            raise InvalidRequestError(
                f"The model has weights in {name_of_dtype(weight.dtype)}, in which no pass is computed. "
                "Load it in float32, bfloat16, float16 or float64."
            )


def sound_weights(model: Transformer) -> Iterator[Finding]:
    """Whether all weights are finite, and no matrix has rows that are all the same number."""
    if model.is_offloaded:
        yield not_checked("weights", "They stay on the disk (offload), and are read as they are used.")
        return
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight.sum(dtype=torch.float32)) or torch.isfinite(weight).all()):
            yield failed("weights", f"{name} has numbers that are not finite.")
            return
        if weight.ndim == 2 and bool((weight[:2] == weight[0, 0]).all() and (weight == weight[0, 0]).all()):
            yield failed("weights", f"{name} has {float(weight[0, 0]):.4g} everywhere.")
            return
    n = sum(weight.numel() for weight in model.parameters())
    yield passed("weights", f"All {n:,} weights are finite, and no matrix is one number everywhere.")
