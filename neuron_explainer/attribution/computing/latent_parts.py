"""Direct effects of one autoencoder: of its latents, its decoder's bias, its skip connection, and its error."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.latent_needs import (
    AutoencoderOf,
    ErrorAsSet,
    ExplainedOf,
    InputOf,
    OnlineLatents,
    direction_among_latents,
)
from neuron_explainer.activations.derived_scalars.derivers.latent_writes import PostNormOfLatents
from neuron_explainer.activations.derived_scalars.derivers.needs import BLOCK
from neuron_explainer.activations.derived_scalars.engine.evaluation import Deriver, Need
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Given
from neuron_explainer.attribution.computing.attention_parts import bias_effect
from neuron_explainer.attribution.computing.mlp_parts import OutputBias
from neuron_explainer.attribution.computing.rows import ROWS, Rows, before_post_norm
from neuron_explainer.attribution.computing.standing import latents_stand
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_DST = DerivedScalarType


@dataclass(frozen=True)
class LatentParts:
    """Direct effects at the rows of one layer's autoencoder.

    Attributes:
        latents: of each latent.
        decoder_bias: of what the decoder adds whatever the latents are.
        skip: of a transcoder's skip connection; 0 without one.
        error: of what the autoencoder leaves unexplained.
        output_bias: of the bias of the layer's output, where the autoencoder's place lies before it.
    """

    latents: Float[Tensor, "batch rows latents"]
    decoder_bias: Float[Tensor, "batch rows"]
    skip: Float[Tensor, "batch rows"]
    error: Float[Tensor, "batch rows"]
    output_bias: Float[Tensor, "batch rows"]


def latent_parts(
    rows: Rows,
    latents: Float[Tensor, "batch tokens latents"],
    explained: Float[Tensor, "batch tokens outputs"],
    inputs: Float[Tensor, "batch tokens inputs"],
    error: Tensor | None,
    bias: Tensor | None,
    autoencoder: Autoencoder,
    dst: DerivedScalarType,
    block: Block,
) -> LatentParts:
    """The direct effects of everything that an autoencoder's place adds to the residual stream."""
    # In the autoencoder's own dtype, so that what it gives here is what it gives within a pass.
    own_inputs, own_explained, own_latents = map(rows.as_it_is, (inputs, explained, latents))
    if error is None:
        left = own_explained - autoencoder.decode(autoencoder.encode(own_inputs), own_inputs).to(own_explained.dtype)
    else:
        left = rows.as_it_is(error)
    # What the pass goes on with: what is explained, unless latents or the error have been overwritten.
    passed_on = autoencoder.decode(own_latents, own_inputs).to(left.dtype) + left
    directions, of_output = _among_outputs(rows, passed_on, bias, dst, block)
    scaled = own_inputs if autoencoder.scales_inputs else None
    by_latent = direction_among_latents(directions, autoencoder, scaled) * at_least_float32(own_latents)
    constant = at_least_float32(autoencoder.decode(torch.zeros_like(own_latents), own_inputs))
    skipped = _skipped(autoencoder, own_inputs)
    return LatentParts(
        by_latent,
        ((constant - skipped) * directions).sum(-1),
        (skipped * directions).sum(-1),
        (at_least_float32(left) * directions).sum(-1),
        of_output,
    )


def _among_outputs(
    rows: Rows, passed_on: Tensor, bias: Tensor | None, dst: DerivedScalarType, block: Block
) -> tuple[Float[Tensor, "batch rows outputs"], Float[Tensor, "batch rows"]]:
    """The direction among the autoencoder's outputs, and the direct effect of the biases that come after them."""
    if dst is _DST.MLP_POST_ACT:
        post_norm, norm, own = block.mlp_post_norm_at(passed_on), block.mlp_post_norm, bias
    elif dst is _DST.ATTN_WEIGHTED_SUM_OF_VALUES:
        summed = passed_on.unflatten(-1, (block.attention.n_heads, -1))
        post_norm, norm = block.attention_post_norm_at(summed), block.attention_post_norm
        own = block.attention.output_bias
    else:
        return rows.directions, torch.zeros_like(rows.directions[..., 0])
    directions = before_post_norm(rows.directions, post_norm)
    of_bias = own if own is None or own.ndim == 1 else rows.of(own)
    effect = bias_effect(rows.directions, directions, of_bias, norm, block)
    weight = block.mlp.output_weight if dst is _DST.MLP_POST_ACT else block.attention.output_weight
    return directions @ weight.to(directions.dtype), effect


def _skipped(autoencoder: Autoencoder, inputs: Tensor) -> Tensor:
    """What a transcoder's skip connection adds; zeros without one."""
    if isinstance(autoencoder, Transcoder) and autoencoder.skip_weight is not None:
        return at_least_float32(torch.nn.functional.linear(inputs.to(autoencoder.dtype), autoencoder.skip_weight))
    return at_least_float32(inputs.new_zeros(*inputs.shape[:-1], 1))


@dataclass(frozen=True)
class LatentScale:
    """What multiplies the rows that latents write, so that they are what is added to the residual stream.

    Attributes:
        gain: by channel, that of the norm after the layer's output; None if it is 1.
        factor: by token, the scales of that norm and of the autoencoder's inputs; None if it is 1.
    """

    gain: Float[Tensor, " d_model"] | None
    factor: Float[Tensor, "batch tokens 1"] | None


def latent_scale(
    inputs: Float[Tensor, "batch tokens inputs"], autoencoder: Autoencoder, post_norm: PostNorm | None
) -> LatentScale:
    """The factors of latents' writes."""
    factor = autoencoder.token_multiplier(inputs) if autoencoder.scales_inputs else None
    if post_norm is None:
        return LatentScale(None, factor)
    return LatentScale(post_norm.gain, post_norm.inverse_scale if factor is None else factor * post_norm.inverse_scale)


def latent_scale_of(kind: NodeType) -> Deriver:
    """`latent_scale` of the autoencoders of one kind, also of those downstream: tables show their latents, too."""
    needs: dict[str, Need] = {
        "inputs": InputOf(kind),
        "autoencoder": AutoencoderOf(kind),
        "post_norm": PostNormOfLatents(kind),
    }
    return Deriver(
        latent_scale,
        needs,
        lambda bound, layer: layer in bound.layers and layer in bound.autoencoder_context(kind).layer_indices,
    )


def latent_parts_of(kind: NodeType) -> Deriver:
    """`latent_parts` of the autoencoders of one kind, in the layers where they stand for what they explain."""
    return Deriver(
        latent_parts,
        {
            "rows": ROWS,
            "latents": OnlineLatents(kind),
            "explained": ExplainedOf(kind),
            "inputs": InputOf(kind),
            "error": ErrorAsSet(kind),
            "bias": OutputBias(),
            "autoencoder": AutoencoderOf(kind),
            "dst": Given(lambda bound, layer: bound.autoencoder_context(kind).dst),
            "block": BLOCK,
        },
        latents_stand(kind),
    )
