"""A traced activation, recomputed from the residual stream just before its component, and its gradient there."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine import recompute
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig, required_layer
from neuron_explainer.activations.derived_scalars.engine.positions import component_of, pair_of, position_or_all
from neuron_explainer.activations.derived_scalars.indexing import AttentionTraceType, PreOrPostAct
from neuron_explainer.errors import NothingToDifferentiateError
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuron_explainer.activations.derived_scalars.indexing import TraceConfig
    from neuron_explainer.activations.derived_scalars.losses.bound_loss import BoundLoss
    from neuron_explainer.models.hooks.recording import PlaceAndLayer


def residuals_needed(bound: BoundConfig, trace: TraceConfig) -> list[PlaceAndLayer]:
    """The residual-stream places from which a traced activation, and for V its projection direction, are computed."""
    places = [bound.start_of(trace).residual]
    if trace.attention_trace_type is AttentionTraceType.V:
        downstream = trace.downstream_trace_config
        places += [bound.end] if downstream is None else residuals_needed(bound, downstream)
    return places


def traced_activation(
    bound: BoundConfig,
    trace: TraceConfig,
    resid: Float[Tensor, "batch tokens d_model"],
    lengths: Int[Tensor, " batch"],
    residual_at: Callable[[PlaceAndLayer], Tensor],
) -> Float[Tensor, " batch"]:
    """The traced activation of each prompt, as a function of the residual stream before its component.

    Args:
        bound: the configuration.
        trace: the traced activation; a whole axis of tokens means their sum.
        resid: the residual stream at `bound.start_of(trace).residual`.
        lengths: how many real tokens each prompt has.
        residual_at: the recorded residual stream at the other places of `residuals_needed`.
    """
    if trace.node_type is NodeType.ATTENTION_HEAD:
        return _head(bound, trace, resid, lengths, residual_at)
    token, component = position_or_all(trace.tensor_indices[0]), component_of(trace)
    which = slice(component, component + 1)
    detach, act = trace.detach_layer_norm_scale, trace.pre_or_post_act
    before = resid if token is None else recompute.up_to(bound, resid, token)
    if trace.node_type is NodeType.VOCAB_TOKEN:
        values = bound.model.unembed(bound.model.final_norm(before, detach))[..., which]
    elif trace.node_type is NodeType.MLP_NEURON:
        values = recompute.neurons(bound.block(trace.layer_index), before, detach, act)[..., which]
    else:
        layer = required_layer(trace.layer_index)
        values = recompute.latents(bound, trace.node_type, layer, before, detach, act, which)
    if token is not None:
        return values[:, token, 0]
    is_real = torch.arange(resid.shape[1], dtype=torch.int64, device=resid.device) < lengths[:, None]
    return values[..., 0].masked_fill(~is_real, 0).sum(dim=1)


def _head(
    bound: BoundConfig,
    trace: TraceConfig,
    resid: Tensor,
    lengths: Tensor,
    residual_at: Callable[[PlaceAndLayer], Tensor],
) -> Tensor:
    (token, attended_to), head = pair_of(trace), component_of(trace)
    block, detach, through = bound.block(trace.layer_index), trace.detach_layer_norm_scale, trace.attention_trace_type
    resid = recompute.up_to(bound, resid, token)
    if through is not AttentionTraceType.V:
        logits = recompute.attention_logits(
            block,
            resid,
            detach,
            through_queries=through is not AttentionTraceType.K,
            through_keys=through is not AttentionTraceType.Q,
        )[:, token : token + 1]
        of_pairs = logits if trace.pre_or_post_act is PreOrPostAct.PRE else block.qk_probs(logits)
        return of_pairs[:, 0, attended_to, head]
    direction = _value_direction(bound, trace, lengths, residual_at)[:, token]
    with torch.no_grad():
        logits = recompute.attention_logits(block, resid, detach, through_queries=False, through_keys=False)
        prob = block.qk_probs(logits[:, token : token + 1])[:, 0, attended_to, head]
        if bound.model.config.scales_writes:
            post_norm = block.attention_post_norm_at(recompute.weighted_sum_of_values(block, resid, detach))
            direction = direction if post_norm is None else direction * post_norm.factor[:, token]
    # Only the value passes gradient: the scale of the LayerNorm before it is held constant, whatever the trace says.
    values = recompute.values(block, resid, detach_scale=True)[:, attended_to, head]
    write = values @ block.attention.output_by_head()[head]
    return prob * (write * direction).sum(dim=-1)


def _value_direction(
    bound: BoundConfig, trace: TraceConfig, lengths: Tensor, residual_at: Callable[[PlaceAndLayer], Tensor]
) -> Float[Tensor, "batch tokens d_model"]:
    """What a head's write is projected on: the residual gradient of the downstream activation, or else of the loss."""
    if trace.downstream_trace_config is not None:
        _, direction = gradient_of_trace(bound, trace.downstream_trace_config, lengths, residual_at)
        return direction
    loss = cast("BoundLoss", bound.loss)  # checked before the pass
    resid = residual_at(bound.end).detach().requires_grad_()
    with torch.enable_grad():
        losses = loss.of_residual(bound.model, resid, lengths, detach_scale=True)
        (direction,) = torch.autograd.grad(losses.sum(), resid)
    return direction


def gradient_of_trace(
    bound: BoundConfig,
    trace: TraceConfig,
    lengths: Int[Tensor, " batch"],
    residual_at: Callable[[PlaceAndLayer], Tensor],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch tokens d_model"]]:
    """The traced activation of each prompt, and its gradient with respect to the residual stream just before it."""
    resid = residual_at(bound.start_of(trace).residual).detach().requires_grad_()
    with torch.enable_grad():
        values = traced_activation(bound, trace, resid, lengths, residual_at)
        (direction,) = torch.autograd.grad(values.sum(), resid)
    return values.detach(), direction


def value_of_trace(
    bound: BoundConfig,
    trace: TraceConfig,
    lengths: Int[Tensor, " batch"],
    residual_at: Callable[[PlaceAndLayer], Tensor],
) -> tuple[Float[Tensor, " batch"], None]:
    """The traced activation of each prompt, without its gradient."""
    resid = residual_at(bound.start_of(trace).residual)
    with torch.no_grad():
        return traced_activation(bound, trace, resid, lengths, residual_at), None


def check_trace(trace: TraceConfig, has_loss: bool) -> None:
    """Refuse traces that cannot be computed.

    Raises:
        InvalidRequestError: a head is traced at a whole axis of tokens, or attends to a later token.
        NothingToDifferentiateError: a head's value is traced, but there is neither a downstream activation nor a loss.
    """
    if trace.node_type is NodeType.ATTENTION_HEAD:
        pair_of(trace)
    if trace.downstream_trace_config is not None:
        check_trace(trace.downstream_trace_config, has_loss)
    elif trace.attention_trace_type is AttentionTraceType.V and not has_loss:
        raise NothingToDifferentiateError(
            "A trace through a head's value (V) is projected on what lies downstream. Give a downstream_trace_config "
            "or a loss."
        )
