"""A model's weights by their places, in the same shapes whatever the family."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.nodes import AttnSubNode
from neuron_explainer.vocabulary.weights import WeightLocationType

_WEIGHT = WeightLocationType

_OUTER: dict[WeightLocationType, Callable[[Transformer], Tensor | None]] = {
    _WEIGHT.EMBEDDING: lambda model: _scaled(model.embedding, model.config.embedding_scale),
    _WEIGHT.POSITION_EMBEDDING: lambda model: model.position_embedding,
    _WEIGHT.UNEMBEDDING: lambda model: model.unembedding_weight.T,
    _WEIGHT.FINAL_LAYER_NORM_GAIN: lambda model: model.final_norm.effective_gain,
    _WEIGHT.FINAL_LAYER_NORM_BIAS: lambda model: model.final_norm.bias,
}

_WITHIN_LAYER: dict[WeightLocationType, Callable[[Block], Tensor | None]] = {
    _WEIGHT.ATTN_TO_QUERY: lambda block: block.attention.by_head(AttnSubNode.Q),
    _WEIGHT.ATTN_TO_KEY: lambda block: block.attention.by_head(AttnSubNode.K),
    _WEIGHT.ATTN_TO_VALUE: lambda block: block.attention.by_head(AttnSubNode.V),
    _WEIGHT.ATTN_TO_RESIDUAL: lambda block: block.attention.output_by_head(),
    _WEIGHT.MLP_TO_HIDDEN: lambda block: block.mlp.input_weight.T,
    _WEIGHT.MLP_TO_HIDDEN_UP: lambda block: None if block.mlp.up_weight is None else block.mlp.up_weight.T,
    _WEIGHT.MLP_TO_RESIDUAL: lambda block: block.mlp.output_weight.T,
    _WEIGHT.ATTN_INPUT_LAYER_NORM_GAIN: lambda block: block.attention_norm.effective_gain,
    _WEIGHT.ATTN_INPUT_LAYER_NORM_BIAS: lambda block: block.attention_norm.bias,
    _WEIGHT.MLP_INPUT_LAYER_NORM_GAIN: lambda block: block.mlp_norm.effective_gain,
    _WEIGHT.MLP_INPUT_LAYER_NORM_BIAS: lambda block: block.mlp_norm.bias,
}


def weight_at(model: Transformer, location: WeightLocationType, layer: int | None) -> Float[Tensor, "..."]:
    """A weight in the shape of `location.shape`: a view of the model's own where that is possible.

    Args:
        model: the model.
        location: which weight. Keys and values that several heads share are repeated for each head. What a family
            stores in parts is put together: the embedding is what enters the residual stream, and a gain what the
            normalised input is multiplied by.
        layer: which layer; None for the weights that a model has once.

    Raises:
        InvalidRequestError: a layer is missing, is not there, or is given for what has none; or this family has no such
            weight.
    """
    if location.has_no_layers:
        if layer is not None:
            raise InvalidRequestError(f"A model has one {location.value}, not one a layer; leave the layer out.")
        weight = _OUTER[location](model)
    else:
        n_layers = model.config.n_layers
        if layer is None or not 0 <= layer < n_layers:
            raise InvalidRequestError(
                f"{location.value} is asked for in layer {layer}; layers are 0 to {n_layers - 1}."
            )
        block = model.blocks[layer]
        assert isinstance(block, Block)
        weight = _WITHIN_LAYER[location](block)
    if weight is None:
        raise InvalidRequestError(f"A {model.config.model_type} model has no {location.value}.")
    return weight.detach()


def _scaled(weight: Float[Tensor, "vocab d_model"], scale: float) -> Float[Tensor, "vocab d_model"]:
    return weight if scale == 1.0 else weight * scale
