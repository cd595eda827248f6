"""Activations recomputed from the residual stream just before their component: what traces and edges differentiate.

All functions take the residual stream of whole prompts, and `detach_scale`, which holds the scale of the component's
LayerNorm constant.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.indexing import PreOrPostAct
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.autoencoders.encoded_inputs import transcoder_input
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder
from neuron_explainer.models.layers.block import Block
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType

_DST = DerivedScalarType


def up_to(
    bound: BoundConfig, resid: Float[Tensor, "batch tokens d_model"], token: int
) -> Float[Tensor, "batch some_tokens d_model"]:
    """The residual stream up to a token: enough to recompute that token's activations.

    All of it where longrope rotates the prompt in another way than one that ends at the token.
    """
    of_part, of_prompt = map(bound.model.config.layers_rotated_as_long, (token + 1, resid.shape[1]))
    return resid[:, : token + 1] if of_part == of_prompt else resid


def neurons(
    block: Block, resid: Float[Tensor, "batch tokens d_model"], detach_scale: bool, act: PreOrPostAct
) -> Float[Tensor, "batch tokens neurons"]:
    """MLP_PRE_ACT or MLP_POST_ACT."""
    normed = block.mlp_input(resid, detach_scale)
    return block.mlp_pre_act(normed) if act is PreOrPostAct.PRE else block.mlp_post_act(normed)


def attention_logits(
    block: Block,
    resid: Float[Tensor, "batch tokens d_model"],
    detach_scale: bool,
    *,
    through_queries: bool,
    through_keys: bool,
) -> Float[Tensor, "batch tokens to heads"]:
    """ATTN_QK_LOGITS, with gradients through queries, keys, or both."""
    normed = block.attention_input(resid, detach_scale)
    queries = block.queries(normed if through_queries else normed.detach())
    keys = block.keys(normed if through_keys else normed.detach())
    return block.qk_logits(queries, keys)


def values(
    block: Block, resid: Float[Tensor, "batch tokens d_model"], detach_scale: bool
) -> Float[Tensor, "batch tokens heads d_head"]:
    """ATTN_VALUE."""
    return block.values(block.attention_input(resid, detach_scale))


def weighted_sum_of_values(
    block: Block, resid: Float[Tensor, "batch tokens d_model"], detach_scale: bool, hold_pattern: bool = False
) -> Float[Tensor, "batch tokens heads d_head"]:
    """ATTN_WEIGHTED_SUM_OF_VALUES; with `hold_pattern` gradients flow through the values alone."""
    logits = attention_logits(
        block, resid, detach_scale, through_queries=not hold_pattern, through_keys=not hold_pattern
    )
    pattern = block.qk_probs(logits).permute(0, 3, 1, 2)
    by_head = pattern @ values(block, resid, detach_scale).transpose(1, 2)
    return by_head.transpose(1, 2)


def autoencoder_input(
    bound: BoundConfig,
    node_type: NodeType,
    layer: int,
    resid: Float[Tensor, "batch tokens d_model"],
    detach_scale: bool,
    hold_pattern: bool = False,
) -> Float[Tensor, "batch tokens inputs"]:
    """What a layer's autoencoder encodes, from the residual stream that its component reads.

    With `hold_pattern` attention's pattern, and the scale of a norm of its output, are held constant.

    Raises:
        InvalidRequestError: that input cannot be recomputed.
    """
    block, dst = bound.block(layer), bound.autoencoder_context(node_type).dst
    autoencoder = bound.autoencoder(node_type, layer)
    if isinstance(autoencoder, Transcoder):
        return transcoder_input(autoencoder, block, resid, detach_scale)
    match dst:
        case _DST.MLP_PRE_ACT:
            return neurons(block, resid, detach_scale, PreOrPostAct.PRE)
        case _DST.MLP_POST_ACT:
            return neurons(block, resid, detach_scale, PreOrPostAct.POST)
        case _DST.RESID_DELTA_MLP:
            return block.mlp_write(block.mlp_input(resid, detach_scale))
        case _DST.ATTN_WEIGHTED_SUM_OF_VALUES:
            return weighted_sum_of_values(block, resid, detach_scale, hold_pattern).flatten(2)
        case _DST.RESID_DELTA_ATTN:
            summed = weighted_sum_of_values(block, resid, detach_scale, hold_pattern)
            return block.attention_write(summed, detach_scale=hold_pattern)
    if dst.location_within_layer in (LocationWithinLayer.MLP, LocationWithinLayer.ATTN):
        raise InvalidRequestError(f"Latents of {dst.value} cannot be recomputed from the residual stream alone.")
    return resid


def latents(
    bound: BoundConfig,
    node_type: NodeType,
    layer: int,
    resid: Float[Tensor, "batch tokens d_model"],
    detach_scale: bool,
    act: PreOrPostAct,
    which: slice = slice(None),
) -> Float[Tensor, "batch tokens latents"]:
    """Latents before or after their activation function; all of them, or a slice."""
    autoencoder = bound.autoencoder(node_type, layer)
    inputs = autoencoder_input(bound, node_type, layer, resid, detach_scale)
    return autoencoder.pre_activations(inputs, which) if act is PreOrPostAct.PRE else autoencoder.encode(inputs, which)


def directional_derivative(
    function: Callable[[Tensor], Tensor], at: Float[Tensor, "..."], along: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """The derivative of a function's result along a direction in its argument.

    The backward pass is linear in the gradient it starts from; differentiating it by that gradient gives the
    directional derivative, with backward formulas alone.
    """
    with torch.enable_grad():
        argument = at.detach().requires_grad_()
        result = function(argument)
        start = torch.zeros_like(result, requires_grad=True)
        (pulled_back,) = torch.autograd.grad(result, argument, start, create_graph=True)
        (derivative,) = torch.autograd.grad(pulled_back, start, along)
    return derivative
