"""Derived scalars of attention heads, by pair of tokens (from, to) or by the token attended from.

Head h writes a[from, to, h] * v[to, h] @ W_O[h] to the residual stream of token `from`. In families that normalise
attention's output, a write is what is added after that norm, with its scale held constant. Norms and projections of
writes are computed from much smaller tensors: the norm of v @ W_O by (to, head), and g @ W_O^T by (from, head).
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.local_gradient import local_residual_gradient
from neuron_explainer.activations.derived_scalars.derivers.needs import (
    BLOCK,
    FinalResidualGradient,
    PostNormOf,
    before_start_in_attention,
)
from neuron_explainer.activations.derived_scalars.engine.evaluation import Need
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import (
    Activation,
    Scalar,
    Shared,
    derives,
    gradient,
    shared,
)
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_PROBS = Activation(ActivationLocationType.ATTN_QK_PROBS)
_PROBS_GRADIENT = gradient(ActivationLocationType.ATTN_QK_PROBS)
_VALUES = Activation(ActivationLocationType.ATTN_VALUE)
_SUMMED = Activation(ActivationLocationType.ATTN_WEIGHTED_SUM_OF_VALUES)
POST_NORM = PostNormOf(LocationWithinLayer.ATTN)


def through_output_weights(
    values: Float[Tensor, "batch tokens heads d_head"], block: Block, post_norm: PostNorm | None
) -> Float[Tensor, "batch tokens heads d_model"]:
    """values @ W_O[head], times the gain (but not the inverse scale) of the norm of attention's output, if any."""
    output_by_head = block.attention.output_by_head()
    if post_norm is not None:
        output_by_head = output_by_head * post_norm.gain
    return torch.einsum("bthc,hcd->bthd", values, output_by_head)


@derives(_DST.ATTN_WEIGHTED_VALUE, probs=_PROBS, values=_VALUES)
def weighted_value(
    probs: Float[Tensor, "batch tokens to heads"], values: Float[Tensor, "batch to heads d_head"]
) -> Float[Tensor, "batch tokens to heads d_head"]:
    """a * v."""
    return probs.unsqueeze(-1) * values.unsqueeze(1)


@shared(values=_VALUES, block=BLOCK, post_norm=POST_NORM)
def value_writes(
    values: Float[Tensor, "batch to heads d_head"], block: Block, post_norm: PostNorm | None
) -> Float[Tensor, "batch to heads d_model"]:
    """v @ W_O, by the token attended to."""
    return through_output_weights(values, block, post_norm)


@shared(probs=_PROBS, post_norm=POST_NORM)
def write_weights(
    probs: Float[Tensor, "batch tokens to heads"], post_norm: PostNorm | None
) -> Float[Tensor, "batch tokens to heads"]:
    """What multiplies each pair's v @ W_O: a, divided by the scale of the norm of attention's output, if any."""
    return probs if post_norm is None else probs * post_norm.inverse_scale.unsqueeze(-1)


@derives(_DST.ATTN_WRITE, weights=write_weights, writes=value_writes)
def write_of_each_head(
    weights: Float[Tensor, "batch tokens to heads"], writes: Float[Tensor, "batch to heads d_model"]
) -> Float[Tensor, "batch tokens to heads d_model"]:
    """a * v @ W_O."""
    return weights.unsqueeze(-1) * writes.unsqueeze(1)


@derives(_DST.ATTN_WRITE_SUM_HEADS, weights=write_weights, writes=value_writes)
def write_of_all_heads(
    weights: Float[Tensor, "batch tokens to heads"], writes: Float[Tensor, "batch to heads d_model"]
) -> Float[Tensor, "batch tokens to d_model"]:
    """a * v @ W_O, summed over heads."""
    return torch.einsum("bfth,bthd->bftd", weights, writes)


@shared(values=_VALUES, block=BLOCK, post_norm=POST_NORM)
def value_write_norms(
    values: Float[Tensor, "batch to heads d_head"], block: Block, post_norm: PostNorm | None
) -> Float[Tensor, "batch to heads"]:
    """The norm of v @ W_O by (to, head)."""
    return through_output_weights(values, block, post_norm).norm(dim=-1)


@derives(_DST.UNFLATTENED_ATTN_WRITE_NORM, weights=write_weights, norms=value_write_norms)
def write_norm(
    weights: Float[Tensor, "batch tokens to heads"], norms: Float[Tensor, "batch to heads"]
) -> Float[Tensor, "batch tokens to heads"]:
    """a * norm(v @ W_O)."""
    return weights * norms.unsqueeze(1)


@derives(
    _DST.UNFLATTENED_ATTN_WRITE_NORM,
    pass_type=PassType.BACKWARD,
    probs_gradient=_PROBS_GRADIENT,
    norms=value_write_norms,
    post_norm=POST_NORM,
)
def gradient_of_write_norm(
    probs_gradient: Float[Tensor, "batch tokens to heads"],
    norms: Float[Tensor, "batch to heads"],
    post_norm: PostNorm | None,
) -> Float[Tensor, "batch tokens to heads"]:
    """a' / norm(v @ W_O): the gradient with respect to the length of the write."""
    per_length = probs_gradient / norms.unsqueeze(1)
    return per_length if post_norm is None else per_length / post_norm.inverse_scale.unsqueeze(-1)


@derives(_DST.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN, summed=_SUMMED, block=BLOCK, post_norm=POST_NORM)
def write_norm_by_token(
    summed: Float[Tensor, "batch tokens heads d_head"], block: Block, post_norm: PostNorm | None
) -> Float[Tensor, "batch tokens heads"]:
    """norm(z @ W_O)."""
    norms = through_output_weights(summed, block, post_norm).norm(dim=-1)
    return norms if post_norm is None else norms * post_norm.inverse_scale


@derives(
    _DST.UNFLATTENED_ATTN_ACT_TIMES_GRAD,
    probs=_PROBS,
    probs_gradient=_PROBS_GRADIENT,
    where=before_start_in_attention,
)
def act_times_grad(
    probs: Float[Tensor, "batch tokens to heads"], probs_gradient: Float[Tensor, "batch tokens to heads"]
) -> Float[Tensor, "batch tokens to heads"]:
    """a * a'."""
    return probs * probs_gradient


@derives(
    _DST.ATTN_ACT_TIMES_GRAD_PER_SEQUENCE_TOKEN,
    act_times_grad=Scalar(_DST.UNFLATTENED_ATTN_ACT_TIMES_GRAD),
    where=before_start_in_attention,
)
def act_times_grad_by_token(
    act_times_grad: Float[Tensor, "batch tokens to heads"],
) -> Float[Tensor, "batch tokens heads"]:
    """a * a', summed over the tokens attended to."""
    return act_times_grad.sum(dim=2)


def direction_among_values(
    direction: Float[Tensor, "batch tokens d_model"], block: Block, post_norm: PostNorm | None
) -> Float[Tensor, "batch tokens heads d_head"]:
    """direction @ W_O^T: its dot product with a weighted value is that of the head's write with `direction`."""
    if post_norm is not None:
        direction = post_norm.of_direction(direction)
    return (direction @ block.attention.output_weight).unflatten(-1, (block.attention.n_heads, -1))


@cache
def among_values(direction: Need) -> Shared:
    """`direction_among_values` as a need; the same object for the same direction, so that it is computed once."""
    return shared(direction=direction, block=BLOCK, post_norm=POST_NORM)(direction_among_values)


@derives(
    _DST.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
    probs=_PROBS,
    values=_VALUES,
    direction=among_values(FinalResidualGradient()),
    where=before_start_in_attention,
)
@derives(
    _DST.UNFLATTENED_ATTN_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    probs=_PROBS,
    values=_VALUES,
    direction=among_values(local_residual_gradient),
    where=before_start_in_attention,
)
def write_to_direction(
    probs: Float[Tensor, "batch tokens to heads"],
    values: Float[Tensor, "batch to heads d_head"],
    direction: Float[Tensor, "batch tokens heads d_head"],
) -> Float[Tensor, "batch tokens to heads"]:
    """a * (v · (g[from] @ W_O^T))."""
    return torch.einsum("bfhc,bthc->bfth", direction, values).mul_(probs)


@derives(
    _DST.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN,
    summed=_SUMMED,
    direction=among_values(FinalResidualGradient()),
    where=before_start_in_attention,
)
def write_to_direction_by_token(
    summed: Float[Tensor, "batch tokens heads d_head"], direction: Float[Tensor, "batch tokens heads d_head"]
) -> Float[Tensor, "batch tokens heads"]:
    """z · (g @ W_O^T)."""
    return (summed * direction).sum(dim=-1)


def lower_triangle(by_pair: Float[Tensor, "batch tokens to last"]) -> Float[Tensor, "batch pairs last"]:
    """The pairs whose `to` is not after `from`, row by row: pair (from, to) at from (from + 1) / 2 + to."""
    n_tokens = by_pair.shape[1]
    rows, columns = torch.tril_indices(n_tokens, n_tokens, dtype=torch.int64, device=by_pair.device)
    return by_pair[:, rows, columns]


# The scalars whose pairs are on one axis. Their BACKWARD pass repeats the values, as Transformer Debugger's does.
# Gradients by pair are those of ATTN_QK_PROBS and UNFLATTENED_ATTN_WRITE_NORM.


@derives(_DST.FLATTENED_ATTN_POST_SOFTMAX, probs=_PROBS)
@derives(_DST.FLATTENED_ATTN_POST_SOFTMAX, pass_type=PassType.BACKWARD, probs=_PROBS)
def flat_probs(probs: Float[Tensor, "batch tokens to heads"]) -> Float[Tensor, "batch pairs heads"]:
    """a."""
    return lower_triangle(probs)


@derives(_DST.ATTN_WRITE_NORM, by_pair=Scalar(_DST.UNFLATTENED_ATTN_WRITE_NORM))
@derives(_DST.ATTN_WRITE_NORM, pass_type=PassType.BACKWARD, by_pair=Scalar(_DST.UNFLATTENED_ATTN_WRITE_NORM))
def flat_write_norm(by_pair: Float[Tensor, "batch tokens to heads"]) -> Float[Tensor, "batch pairs heads"]:
    """a * norm(v @ W_O)."""
    return lower_triangle(by_pair)


@derives(
    _DST.ATTN_ACT_TIMES_GRAD,
    by_pair=Scalar(_DST.UNFLATTENED_ATTN_ACT_TIMES_GRAD),
    where=before_start_in_attention,
)
def flat_act_times_grad(by_pair: Float[Tensor, "batch tokens to heads"]) -> Float[Tensor, "batch pairs heads"]:
    """a * a'."""
    return lower_triangle(by_pair)


@derives(
    _DST.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
    by_pair=Scalar(_DST.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD),
    where=before_start_in_attention,
)
@derives(
    _DST.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
    pass_type=PassType.BACKWARD,
    by_pair=Scalar(_DST.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD),
    where=before_start_in_attention,
)
def flat_write_to_final_gradient(by_pair: Float[Tensor, "batch tokens to heads"]) -> Float[Tensor, "batch pairs heads"]:
    """a * (v · (g[from] @ W_O^T))."""
    return lower_triangle(by_pair)
