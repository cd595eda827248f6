"""The directions in the residual stream that neurons and latents write and read.

What a component *writes* is what one unit of its activation adds to the residual stream. What it *reads* is the
gradient of its pre-activation with respect to the residual stream. Scales of norms depend on the text, and are left
at 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder, TranscoderInput
from neuron_explainer.models.layers.norms import Norm, at_least_float32
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_DST = DerivedScalarType
_CENTRED = (InputScaling.LAYER_NORM, InputScaling.CENTER)


def through_norm(rows: Float[Tensor, "rows channels"], norm: Norm | None) -> Float[Tensor, "rows channels"]:
    """Rows through a norm without its bias, its scale left at 1; as they are without a norm."""
    rows = at_least_float32(rows)
    return rows if norm is None else norm.without_gain(rows, torch.ones_like(rows[:, :1])) * norm.effective_gain


def back_through_norm(rows: Float[Tensor, "rows channels"], norm: Norm) -> Float[Tensor, "rows channels"]:
    """Directions among a norm's outputs as directions among its inputs, its scale left at 1."""
    rows = at_least_float32(rows) * norm.effective_gain
    return norm.without_gain(rows, torch.ones_like(rows[:, :1]))  # to centre is its own transpose


def neuron_writes(bound: BoundConfig, layer: int, neuron: int | None = None) -> Float[Tensor, "neurons d_model"]:
    """What the neurons of a layer write, or one of them."""
    block = bound.block(layer)
    rows = block.mlp.output_weight.T if neuron is None else block.mlp.write_direction(neuron)[None]
    written = through_norm(rows, block.mlp_post_norm)
    return written if block.residual_multiplier == 1 else written * block.residual_multiplier


def neuron_reads(bound: BoundConfig, layer: int, neuron: int | None = None) -> Float[Tensor, "neurons d_model"]:
    """What the neurons of a layer read, or one of them; of a gated neuron, its gate."""
    block = bound.block(layer)
    rows = block.mlp.input_weight if neuron is None else block.mlp.gate(neuron)[0][None]
    return back_through_norm(rows, block.mlp_norm)


def latent_writes(
    bound: BoundConfig, node_type: NodeType, layer: int, latent: int | None = None
) -> Float[Tensor, "latents d_model"]:
    """What the latents of a layer write, or one of them; without the scaling of single tokens' inputs.

    Raises:
        InvalidRequestError: they reach the residual stream through a nonlinearity.
    """
    block, dst = bound.block(layer), bound.autoencoder_context(node_type).dst
    rows = _of(bound.autoencoder(node_type, layer).write_rows, latent)
    if dst is _DST.MLP_PRE_ACT:
        raise InvalidRequestError(
            "Latents of mlp_pre_act reach the residual stream through a nonlinearity, so a latent has no single write."
        )
    if dst is _DST.MLP_POST_ACT:
        weight, norm = block.mlp.output_weight, block.mlp_post_norm
    elif dst is _DST.ATTN_WEIGHTED_SUM_OF_VALUES:
        weight, norm = block.attention.output_weight, block.attention_post_norm
    else:
        return at_least_float32(rows)
    written = through_norm(rows @ weight.T.to(rows.dtype), norm)
    return written if block.residual_multiplier == 1 else written * block.residual_multiplier


def latent_reads(
    bound: BoundConfig, node_type: NodeType, layer: int, latent: int | None = None
) -> Float[Tensor, "latents d_model"]:
    """What the latents of a layer read, or one of them; of autoencoders of the residual stream, and of transcoders.

    Raises:
        InvalidRequestError: they read something that is not linear in the residual stream.
    """
    autoencoder = bound.autoencoder(node_type, layer)
    rows = at_least_float32(_of(autoencoder.encoder_weight, latent))
    if autoencoder.input_scaling in _CENTRED:
        rows = rows - rows.mean(-1, keepdim=True)
    norm = bound.block(layer).mlp_norm
    if isinstance(autoencoder, Transcoder):
        if autoencoder.reads is TranscoderInput.NORMED and not autoencoder.has_folded_norms:
            return back_through_norm(rows, norm)
        is_residual = autoencoder.reads is TranscoderInput.RESIDUAL
        return rows if is_residual else norm.without_gain(rows, torch.ones_like(rows[:, :1]))
    if not reads_residual_stream(bound, node_type):
        raise InvalidRequestError(
            f"Latents of {bound.autoencoder_context(node_type).dst.value} do not read the residual stream itself, but "
            "what a nonlinearity makes of it, so a latent has no single direction that it reads."
        )
    return rows


def reads_residual_stream(bound: BoundConfig, node_type: NodeType) -> bool:
    """Whether an autoencoder's latents encode the residual stream itself."""
    return bound.autoencoder_context(node_type).autoencoder_node_type is NodeType.AUTOENCODER_LATENT


def _of(rows: Tensor, latent: int | None) -> Tensor:
    return rows if latent is None else rows[latent : latent + 1]


def checked_latent(autoencoder: Autoencoder, layer: int, latent: int) -> int:
    """The number of a latent that its autoencoder has.

    Raises:
        InvalidRequestError: it does not have it.
    """
    if latent >= autoencoder.n_latents:
        raise InvalidRequestError(
            f"The autoencoder of layer {layer} has no latent {latent}; latents: 0–{autoencoder.n_latents - 1}."
        )
    return latent
