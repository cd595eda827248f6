"""A model's weights by name, in the same shapes for every family."""

from collections.abc import Callable
from typing import SupportsIndex

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.embedding_scale import scaled_embedding
from neuron_explainer.models.layers.norms import Norm
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_layer
from neuron_explainer.vocabulary.nodes import AttnSubNode
from neuron_explainer.vocabulary.weights import WeightLocationType

_WEIGHT = WeightLocationType

_OUTER: dict[WeightLocationType, Callable[[Transformer], Tensor | None]] = {
    _WEIGHT.EMBEDDING: lambda model: scaled_embedding(model.embedding, model.config),
    _WEIGHT.POSITION_EMBEDDING: lambda model: model.position_embedding,
    _WEIGHT.UNEMBEDDING: lambda model: _scaled(model.unembedding_weight, model.config.logits_scale).T,
    _WEIGHT.FINAL_LAYER_NORM_GAIN: lambda model: _gain(model.final_norm),
    _WEIGHT.FINAL_LAYER_NORM_BIAS: lambda model: model.final_norm.bias,
}

_WITHIN_LAYER: dict[WeightLocationType, Callable[[Block], Tensor | None]] = {
    _WEIGHT.ATTN_TO_QUERY: lambda block: block.attention.by_head(AttnSubNode.Q),
    _WEIGHT.ATTN_TO_KEY: lambda block: block.attention.by_head(AttnSubNode.K),
    _WEIGHT.ATTN_TO_VALUE: lambda block: block.attention.by_head(AttnSubNode.V),
    _WEIGHT.ATTN_TO_RESIDUAL: lambda block: _scaled(block.attention.output_by_head(), block.residual_multiplier),
    _WEIGHT.MLP_TO_HIDDEN: lambda block: block.mlp.input_weight.T,
    _WEIGHT.MLP_TO_HIDDEN_UP: lambda block: None if block.mlp.up_weight is None else block.mlp.up_weight.T,
    _WEIGHT.MLP_TO_RESIDUAL: lambda block: _scaled(block.mlp.output_weight, block.residual_multiplier).T,
    _WEIGHT.ATTN_INPUT_LAYER_NORM_GAIN: lambda block: _gain(block.attention_norm),
    _WEIGHT.ATTN_INPUT_LAYER_NORM_BIAS: lambda block: block.attention_norm.bias,
    _WEIGHT.MLP_INPUT_LAYER_NORM_GAIN: lambda block: _gain(block.mlp_norm),
    _WEIGHT.MLP_INPUT_LAYER_NORM_BIAS: lambda block: block.mlp_norm.bias,
}


def weight_at(model: Transformer, weight_type: WeightLocationType, layer: SupportsIndex | None) -> Float[Tensor, "..."]:
    """A weight in the shape of `weight_type.shape`: a view of the model's own weight if possible.

    Args:
        model: the model.
        weight_type: which weight. Keys and values that several heads share are repeated for each head. Factors and
            offsets of a family are included: the embedding is what enters the residual stream, and a gain is the factor
            of the normalised input.
        layer: which layer; None for the weights that a model has once.

    Raises:
        InvalidRequestError: the model does not have this layer or weight, a layer is missing, or one is given for a
            weight without layers.
    """
    if weight_type.has_no_layers:
        if layer is not None:
            raise InvalidRequestError(f"{weight_type.value} has no layers. Leave the layer out.")
        weight = _OUTER[weight_type](model)
    else:
        block = model.blocks[checked_layer(layer, model.config.n_layers, weight_type.value)]
        weight = _WITHIN_LAYER[weight_type](block)
    if weight is None:
        raise InvalidRequestError(f"The {model.config.model_type} model has no {weight_type.value}.")
    return weight.detach()


def _scaled(weight: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
    return weight if scale == 1.0 else weight * scale


def _gain(norm: Norm) -> Float[Tensor, " channels"] | None:
    """A norm's gain; None if it has none."""
    gain = norm.effective_gain
    return gain if isinstance(gain, Tensor) else None
