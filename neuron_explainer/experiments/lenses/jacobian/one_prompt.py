"""The Jacobians of one prompt: how the last residual stream depends on that of each layer, summed over later tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType.RESID_POST_MLP


def jacobians_of_prompt(
    model: Transformer,
    token_ids: Sequence[int],
    layers: Sequence[int],
    target_layer: int,
    positions: range,
    dim_batch: int,
    told: Callable[[int], object] = lambda n_dimensions: None,
) -> dict[int, Float[Tensor, "d_model d_model"]]:
    """Row i: the gradient of output dimension i, summed over the positions, averaged over the positions it is taken at.

    One forward pass reads `dim_batch` copies of the prompt. In each backward pass every copy differentiates a dimension
    of its own, and all layers' gradients come out of it. What later tokens do is within: entry (i, j) is the mean over
    source positions p of Σ over target positions p' ≥ p of ∂ target[p', i] / ∂ layer[p, j].

    Args:
        model: the model.
        token_ids: the prompt.
        layers: whose outputs are differentiated by.
        target_layer: whose output is differentiated.
        positions: which positions count, as sources and as targets.
        dim_batch: how many dimensions are differentiated at once.
        told: told how many dimensions more are done, after each backward pass.

    Returns:
        For each layer its matrix (outputs, inputs), in float32 on the model's device.

    Raises:
        StoppedError: watched work is to stop.
    """
    d_model = model.config.d_model
    below = [layer for layer in layers if layer < target_layer]
    jacobians = {layer: torch.zeros(d_model, d_model, dtype=torch.float32, device=model.device) for layer in below}
    if target_layer in layers:
        # Of what is differentiated by itself.
        jacobians[target_layer] = torch.eye(d_model, dtype=torch.float32, device=model.device)
    if not below:
        return jacobians
    copies = torch.tensor([list(token_ids)], dtype=torch.int64, device=model.device).expand(min(dim_batch, d_model), -1)
    where = slice(positions.start, positions.stop)
    with model.record([(_PLACE, layer) for layer in {*below, target_layer}], gradients=True) as recording:
        model(copies, logits_at=None)
        target = recording[_PLACE, target_layer]
        sources = [recording[_PLACE, layer] for layer in below]
        for start in range(0, d_model, len(copies)):
            stop_if_asked()
            dimensions = torch.arange(start, min(start + len(copies), d_model), dtype=torch.int64, device=model.device)
            cotangent = torch.zeros_like(target)
            cotangent[dimensions - start, where, dimensions] = 1
            is_last = start + len(copies) >= d_model
            gradients = torch.autograd.grad(target, sources, cotangent, retain_graph=not is_last)
            for layer, gradient in zip(below, gradients, strict=True):
                jacobians[layer][dimensions] = gradient[: len(dimensions), where].mean(dim=1, dtype=torch.float32)
            told(len(dimensions))
        recording.clear()
    return jacobians
