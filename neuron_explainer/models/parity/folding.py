"""Folding the gains and biases of norms into the weights that read from them, in a copy of a model."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.layers.norms import Norm
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.nodes import AttnSubNode

_PARTS = {AttnSubNode.Q: "query", AttnSubNode.K: "key", AttnSubNode.V: "value"}


def with_folded_norms(model: Transformer) -> Transformer:
    """A copy in which the norms before attention, MLP and unembedding have gain 1 and bias 0.

    The weights that read from a norm take over its gain and bias:
    W (x * gain + bias) + b = (W * gain) x + (W bias + b).
    The copy computes the same logits, and its weights apply directly to the normalised residual stream. The recorded
    outputs of the norms differ. Norms of queries and keys, and norms after attention and MLP, are kept: no linear map
    reads from them directly.

    Args:
        model: the model; it is not changed. Weights that folding does not change are shared with the copy.

    Returns:
        A model with separate query, key and value weights, biases wherever a norm had one, and an untied unembedding.
    """
    config = model.config
    has_bias = bool(config.norm_has_bias)
    folded = Transformer(
        dataclasses.replace(
            config,
            qkv_layout="separate",
            qkv_bias=config.qkv_bias or has_bias,
            mlp_bias=config.mlp_bias or has_bias,
            unembedding_bias=config.unembedding_bias or has_bias,
            tied_unembedding=False,
        )
    )
    weights: dict[str, Tensor] = {
        name: parameter for name, parameter in model.named_parameters() if not name.endswith(("qkv_weight", "qkv_bias"))
    }
    for layer, block in enumerate(model.blocks):
        prefix = f"blocks.{layer}."
        for part, name in _PARTS.items():
            weight, bias = block.attention.part(part)
            _fold(weights, f"{prefix}attention.{name}", weight, bias, block.attention_norm)
        for name, weight, bias in block.mlp.readers():
            _fold(weights, f"{prefix}mlp.{name}", weight, bias, block.mlp_norm)
        if config.mlp_bias != folded.config.mlp_bias:
            weights[f"{prefix}mlp.output_bias"] = block.mlp.output_weight.new_zeros(config.d_model)
        _neutralise(weights, f"{prefix}attention_norm", block.attention_norm)
        if block.mlp_norm is not block.attention_norm:
            _neutralise(weights, f"{prefix}mlp_norm", block.mlp_norm)
    _fold(weights, "unembedding", model.unembedding_weight, model.unembedding_bias, model.final_norm)
    _neutralise(weights, "final_norm", model.final_norm)
    for name, tensor in weights.items():
        fill(folded, name, tensor)
    return folded


def _fold(
    weights: dict[str, Tensor],
    name: str,
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None,
    norm: Norm,
) -> None:
    """Store the weight and bias of a linear map, with a norm's gain and bias folded in."""
    weight_name, bias_name = (name, f"{name}_bias") if name == "unembedding" else (f"{name}_weight", f"{name}_bias")
    weights[weight_name] = (weight * norm.effective_gain).to(weight.dtype)
    if norm.bias is not None:
        shift = weight @ norm.bias
        weights[bias_name] = shift if bias is None else bias + shift
    elif bias is not None:
        weights[bias_name] = bias


def _neutralise(weights: dict[str, Tensor], name: str, norm: Norm) -> None:
    """Store a gain of 1 and a bias of 0."""
    if norm.gain is None:
        return
    weights[f"{name}.gain"] = torch.full_like(norm.gain, 1.0 - norm.gain_offset)
    if norm.bias is not None:
        weights[f"{name}.bias"] = torch.zeros_like(norm.bias)
