"""A head's maps as rows of the residual stream, the gains of the norms around them folded in."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.attribution.single_nodes.directions import back_through_norm, through_norm
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.norms import Norm, at_least_float32
from neuron_explainer.vocabulary.nodes import AttnSubNode

Rows = Float[Tensor, "heads d_head d_model"]


def value_rows(block: Block) -> Rows:
    """What each channel of each head's value reads in the residual stream, per unit of the norm's scale."""
    return _read(block, at_least_float32(block.attention.by_head(AttnSubNode.V)).transpose(1, 2))


def written_rows(block: Block) -> Rows:
    """What each channel of each head's sum of values writes, the scale of a norm behind it left at 1."""
    rows = at_least_float32(block.attention.output_by_head())
    written = through_norm(rows.flatten(0, 1), block.attention_post_norm).view_as(rows)
    return written if block.residual_multiplier == 1 else written * block.residual_multiplier


def query_rows(block: Block) -> Rows:
    """What each channel of each head's query reads; the gain of a norm of queries folded in, its scale left at 1."""
    return _read(block, _normed_channels(block, AttnSubNode.Q, block.attention.query_norm))


def key_rows(block: Block) -> Rows:
    """What each channel of each head's key reads, as `query_rows`; shared keys are repeated."""
    return _read(block, _normed_channels(block, AttnSubNode.K, block.attention.key_norm))


def _read(block: Block, rows: Rows) -> Rows:
    return back_through_norm(rows.flatten(0, 1), block.attention_norm).view_as(rows)


def _normed_channels(block: Block, part: AttnSubNode, norm: Norm | None) -> Rows:
    attention = block.attention
    weight = at_least_float32(attention.part(part)[0])
    rows = weight.unflatten(0, (-1, attention.d_head))
    if norm is not None:
        channels = weight.T if attention.normalises_projection else rows.permute(2, 0, 1)
        normed = norm.without_gain(channels, torch.ones_like(channels[..., :1])) * norm.effective_gain
        rows = normed.T.unflatten(0, (-1, attention.d_head)) if normed.ndim == 2 else normed.permute(1, 2, 0)
    times = attention.n_heads // len(rows)
    return rows if times == 1 else rows.repeat_interleave(times, dim=0)
