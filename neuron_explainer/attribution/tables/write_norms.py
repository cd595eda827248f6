"""The norms of what nodes write to the residual stream, computed from weights when a table asks for them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivers.attention import through_output_weights
from neuron_explainer.attribution.computing.attention_parts import summed_by
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.latent_parts import LatentScale
from neuron_explainer.errors import MisconfiguredError
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.routed import Neurons, dense
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_DST = DerivedScalarType
WITHOUT_MODEL = "This answer was read from a file without its model: ne.load_attribution(path, model) gives it one."


class WriteNorms:
    """The norms of writes in one pass.

    Args:
        config: the model and its autoencoders; None where they are not there, as of an answer read from a file.
        effects: the pass.
    """

    def __init__(self, config: DstConfig | None, effects: Effects) -> None:
        self._config = config
        self._store = effects.store
        self._scales = effects.latent_scales

    def are_known(self, node_type: NodeType) -> bool:
        """Whether `of` can give them: without the model, those of embeddings alone."""
        return self._config is not None or node_type is NodeType.TOKEN

    def of(self, node_type: NodeType, layer: int | None, activation: Neurons) -> Neurons:
        """Activations times the norm of what one unit of each writes.

        Of an embedding the activation is the norm already.

        Raises:
            MisconfiguredError: the model is not there.
        """
        if node_type is NodeType.TOKEN:
            return activation
        if layer is None or self._config is None:
            raise MisconfiguredError(f"Norms of writes need the model. {WITHOUT_MODEL}")
        block = self._config.get_or_create_model().blocks[layer]
        with torch.no_grad():
            if node_type is NodeType.ATTENTION_HEAD:
                return self._of_heads(block, layer, dense(activation))
            if node_type is NodeType.MLP_NEURON:
                return self._of_neurons(block, activation)
            return self._of_latents(node_type, layer, dense(activation))

    def _of_heads(self, block: Block, layer: int, probs: Tensor) -> Tensor:
        values = self._store.activations(_DST.ATTN_VALUE)[layer]
        post_norm = block.attention_post_norm_at(summed_by(probs[None], values[None]))
        norms = through_output_weights(values[None], block, post_norm)[0].norm(dim=-1)
        weighted = probs * norms[None]
        return weighted if post_norm is None else weighted * post_norm.inverse_scale[0][..., None]

    def _of_neurons(self, block: Block, post_act: Neurons) -> Neurons:
        post_norm = block.mlp_post_norm_at(post_act[None]) if isinstance(post_act, Tensor) else None
        if not isinstance(post_act, Tensor) and (block.mlp_post_norm is not None or block.residual_multiplier != 1):
            post_norm = block.mlp_post_norm_at(post_act.dense()[None])
        norms = block.mlp.write_norms(None if post_norm is None else post_norm.gain).to(post_act.dtype)
        return post_act * (norms if post_norm is None else norms * post_norm.inverse_scale[0])

    def _of_latents(self, kind: NodeType, layer: int, latents: Tensor) -> Tensor:
        which = latents.any(dim=0).nonzero().flatten()  # of many latents most are 0 at all tokens
        norms, scale = torch.zeros_like(latents[0]), self._scales[kind, layer]
        norms[which] = latent_rows(self._config, kind, layer, which, scale).norm(dim=-1).to(norms.dtype)
        return latents * norms if scale.factor is None else latents * norms * scale.factor


def latent_rows(
    config: DstConfig | None, kind: NodeType, layer: int, which: Int[Tensor, " some"], scale: LatentScale
) -> Float[Tensor, "some d_model"]:
    """What one unit of some latents adds to the residual stream, apart from factors of single tokens.

    Raises:
        MisconfiguredError: the autoencoders are not there.
    """
    context = None if config is None else config.get_autoencoder_context(kind)
    if config is None or context is None:
        raise MisconfiguredError(f"Writes of latents need the autoencoders. {WITHOUT_MODEL}")
    block = config.get_or_create_model().blocks[layer]
    rows = context.get_autoencoder(layer).write_rows[which]
    if context.dst is _DST.MLP_POST_ACT:
        rows = torch.nn.functional.linear(rows, block.mlp.output_weight.to(rows.dtype))
    elif context.dst is _DST.ATTN_WEIGHTED_SUM_OF_VALUES:
        rows = torch.nn.functional.linear(rows, block.attention.output_weight.to(rows.dtype))
    return rows if scale.gain is None else rows * scale.gain
