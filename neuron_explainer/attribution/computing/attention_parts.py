"""Direct effects of one layer's attention: of each head and attended-to token, and of the output's biases."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.needs import BLOCK
from neuron_explainer.activations.derived_scalars.engine.evaluation import Deriver
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation
from neuron_explainer.attribution.computing.replaced import Replaced, ReplacedAt, WhereReplaced
from neuron_explainer.attribution.computing.rows import ROWS, Rows, before_post_norm
from neuron_explainer.attribution.computing.standing import heads_stand
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.norms import Norm, at_least_float32
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


@dataclass(frozen=True)
class AttentionParts:
    """Direct effects at the rows of one layer's attention.

    Attributes:
        by_pair: of each head's write from the row's token, by the token attended to; value biases are within it.
        as_set: of heads' writes that an ablation has set as a whole.
        layer_as_set: of the layer's write, where an ablation has set it as a whole.
        bias: of the output's bias and of the bias of the norm after it.
    """

    by_pair: Float[Tensor, "batch rows to heads"]
    as_set: Float[Tensor, "batch rows heads"]
    layer_as_set: Float[Tensor, "batch rows"]
    bias: Float[Tensor, "batch rows"]


def attention_parts(
    rows: Rows,
    probs: Float[Tensor, "batch tokens to heads"],
    values: Float[Tensor, "batch to heads d_head"],
    summed: Tensor | None,
    delta: Tensor | None,
    heads_replaced: Replaced,
    layer_replaced: Replaced,
    block: Block,
) -> AttentionParts:
    """Every head's direct effect at the rows."""
    own = summed_by(rows.as_it_is(probs), values) if summed is None else rows.as_it_is(summed)
    directions = before_post_norm(rows.directions, block.attention_post_norm_at(own))
    weight = at_least_float32(block.attention.output_weight)
    among_values = (directions @ weight).unflatten(-1, (block.attention.n_heads, -1))
    by_pair = torch.einsum("brhc,bthc->brth", among_values, at_least_float32(values)) * rows.of(probs)
    as_set = (at_least_float32(own) * among_values).sum(-1)
    bias = bias_effect(rows.directions, directions, block.attention.output_bias, block.attention_post_norm, block)
    layer_as_set = torch.zeros_like(bias) if delta is None else (rows.of(delta) * rows.directions).sum(-1)
    is_set, is_layer_set = heads_replaced.at(rows.positions, as_set.shape[-1]), layer_replaced.at(rows.positions)
    return AttentionParts(
        by_pair.masked_fill(is_set[:, :, None, :] | is_layer_set[..., None, None], 0),
        as_set.masked_fill(~is_set | is_layer_set[..., None], 0),
        layer_as_set.masked_fill(~is_layer_set, 0),
        bias.masked_fill(is_layer_set, 0),
    )


def summed_by(
    probs: Float[Tensor, "batch tokens to heads"], values: Float[Tensor, "batch to heads d_head"]
) -> Float[Tensor, "batch tokens heads d_head"]:
    """What the heads sum at some tokens, from their attention weights and the values."""
    return torch.einsum("bfth,bthc->bfhc", probs, values)


def bias_effect(
    directions: Float[Tensor, "batch rows d_model"],
    before_norm: Float[Tensor, "batch rows d_model"],
    bias: Tensor | None,
    post_norm: Norm | None,
    block: Block,
) -> Float[Tensor, "batch rows"]:
    """The direct effect of an output's bias, and of the bias of the norm after it.

    Args:
        directions: the direction among what is added.
        before_norm: the direction among the outputs.
        bias: of the output: (d_model) or (batch, rows, d_model); None without one.
        post_norm: the norm of the output, if there is one.
        block: the layer.
    """
    effect = torch.zeros_like(directions[..., 0])
    if bias is not None:
        effect = effect + (before_norm * at_least_float32(bias)).sum(-1)
    if post_norm is not None and post_norm.bias is not None:
        effect = effect + directions @ at_least_float32(post_norm.bias) * block.residual_multiplier
    return effect


ATTENTION_PARTS = Deriver(
    attention_parts,
    {
        "rows": ROWS,
        "probs": Activation(_PLACE.ATTN_QK_PROBS),
        "values": Activation(_PLACE.ATTN_VALUE),
        "summed": WhereReplaced(_PLACE.ATTN_WEIGHTED_SUM_OF_VALUES),
        "delta": WhereReplaced(_PLACE.RESID_DELTA_ATTN),
        "heads_replaced": ReplacedAt(_PLACE.ATTN_WEIGHTED_SUM_OF_VALUES),
        "layer_replaced": ReplacedAt(_PLACE.RESID_DELTA_ATTN),
        "block": BLOCK,
    },
    heads_stand,
)
