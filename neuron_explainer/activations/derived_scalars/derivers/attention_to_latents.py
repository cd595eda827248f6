"""What heads write to the latents of an autoencoder: their writes, projected on a latent's gradient at its input.

Either for the traced latent (`DstConfig.trace_config`), or for all latents of one layer at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.attention import (
    POST_NORM,
    among_values,
    lower_triangle,
    through_output_weights,
    value_writes,
    write_of_all_heads,
    write_to_direction,
    write_to_direction_by_token,
    write_weights,
)
from neuron_explainer.activations.derived_scalars.derivers.latent_needs import AutoencoderOf, OfflineInputOf
from neuron_explainer.activations.derived_scalars.derivers.needs import BLOCK
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.activations.derived_scalars.engine.positions import component_of, position_or_all
from neuron_explainer.activations.derived_scalars.engine.recompute import directional_derivative
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation, Scalar, derives
from neuron_explainer.activations.derived_scalars.indexing import PreOrPostAct
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_PROBS = Activation(ActivationLocationType.ATTN_QK_PROBS)
_VALUES = Activation(ActivationLocationType.ATTN_VALUE)
_SUMMED = Activation(ActivationLocationType.ATTN_WEIGHTED_SUM_OF_VALUES)
_LATENT = NodeType.AUTOENCODER_LATENT


@dataclass(frozen=True)
class TracedLatentGradient(Need):
    """The gradient of the traced latent, summed over tokens, with respect to its autoencoder's input."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The autoencoder's input, as for offline latents."""
        return OfflineInputOf(bound.trace.node_type).recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens inputs"]:
        """The gradient, computed once."""
        gradient: Tensor = evaluation.once(self, layer, lambda: self._computed(evaluation, layer))
        return gradient

    def _computed(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        trace = evaluation.bound.trace
        token, latent = position_or_all(trace.tensor_indices[0]), component_of(trace)
        which = slice(latent, latent + 1)
        autoencoder = evaluation.bound.autoencoder(trace.node_type, layer)
        recorded: Tensor = OfflineInputOf(trace.node_type).value(evaluation, layer)
        with torch.enable_grad():
            inputs = recorded.detach().requires_grad_()
            is_pre = trace.pre_or_post_act is PreOrPostAct.PRE
            latents = autoencoder.pre_activations(inputs, which) if is_pre else autoencoder.encode(inputs, which)
            (gradient,) = torch.autograd.grad(latents[:, slice(None) if token is None else token].sum(), inputs)
        return gradient


@derives(_DST.AUTOENCODER_LATENT_GRAD_WRT_RESIDUAL_INPUT, direction=TracedLatentGradient())
@derives(_DST.AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT, direction=TracedLatentGradient())
def gradient_of_latent(direction: Float[Tensor, "batch tokens inputs"]) -> Float[Tensor, "batch tokens inputs"]:
    """The gradient of the traced latent with respect to its autoencoder's input."""
    return direction


_AMONG_VALUES = among_values(TracedLatentGradient())
derives(
    _DST.ATTN_WRITE_TO_LATENT,
    probs=_PROBS,
    values=_VALUES,
    direction=_AMONG_VALUES,
)(write_to_direction)
derives(
    _DST.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN,
    summed=_SUMMED,
    direction=_AMONG_VALUES,
)(write_to_direction_by_token)


@derives(_DST.ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS, by_head=Scalar(_DST.ATTN_WRITE_TO_LATENT))
def summed_over_heads(by_head: Float[Tensor, "batch tokens to heads"]) -> Float[Tensor, "batch tokens to 1"]:
    """ATTN_WRITE_TO_LATENT, summed over heads."""
    return by_head.sum(dim=-1, keepdim=True)


derives(
    _DST.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
    by_pair=Scalar(_DST.ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS),
)(lower_triangle)


def latent_slopes(
    autoencoder: Autoencoder, inputs: Float[Tensor, "batch tokens inputs"]
) -> Float[Tensor, "batch tokens latents"]:
    """The derivative of each latent with respect to its pre-activation."""
    with torch.enable_grad():
        pre_activations = autoencoder.pre_activations(inputs).detach().requires_grad_()
        (slopes,) = torch.autograd.grad(autoencoder.activation(pre_activations).sum(), pre_activations)
    return slopes


def pre_activation_tangents(
    autoencoder: Autoencoder, inputs: Float[Tensor, "*rows inputs"], writes: Float[Tensor, "*rows inputs"]
) -> Float[Tensor, "*rows latents"]:
    """The derivative of each latent's pre-activation along a direction among the inputs, which may differ by row."""
    if autoencoder.scales_inputs:
        return directional_derivative(autoencoder.pre_activations, inputs, writes)
    return torch.nn.functional.linear(writes.to(autoencoder.dtype), autoencoder.encoder_weight)


@derives(
    _DST.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS_BATCHED,
    weights=write_weights,
    writes=value_writes,
    autoencoder=AutoencoderOf(_LATENT),
    inputs=OfflineInputOf(_LATENT),
)
def pair_writes_to_all_latents(
    weights: Float[Tensor, "batch tokens to heads"],
    writes: Float[Tensor, "batch to heads d_model"],
    autoencoder: Autoencoder,
    inputs: Float[Tensor, "batch tokens d_model"],
) -> Float[Tensor, "batch pairs latents"]:
    """The heads' writes by pair, summed over heads, along every latent's gradient."""
    by_pair = lower_triangle(write_of_all_heads(weights, writes))
    rows, _ = torch.tril_indices(inputs.shape[1], inputs.shape[1], dtype=torch.int64, device=inputs.device)
    slopes = latent_slopes(autoencoder, inputs)
    return pre_activation_tangents(autoencoder, inputs[:, rows], by_pair).mul_(slopes[:, rows])


@derives(
    _DST.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN_BATCHED,
    summed=_SUMMED,
    block=BLOCK,
    post_norm=POST_NORM,
    autoencoder=AutoencoderOf(_LATENT),
    inputs=OfflineInputOf(_LATENT),
)
def token_writes_to_all_latents(
    summed: Float[Tensor, "batch tokens heads d_head"],
    block: Block,
    post_norm: PostNorm | None,
    autoencoder: Autoencoder,
    inputs: Float[Tensor, "batch tokens d_model"],
) -> Float[Tensor, "batch tokens heads latents"]:
    """Each head's write by token, along every latent's gradient."""
    writes = through_output_weights(summed, block, post_norm)
    if post_norm is not None:
        writes = writes * post_norm.inverse_scale.unsqueeze(-1)
    by_head = inputs.unsqueeze(2).expand_as(writes)
    slopes = latent_slopes(autoencoder, inputs)
    return pre_activation_tangents(autoencoder, by_head, writes).mul_(slopes.unsqueeze(2))
