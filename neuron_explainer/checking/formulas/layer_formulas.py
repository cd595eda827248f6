"""Every place of a layer by plain formulas, from what was recorded before it: written out again, from the weights.

Nothing here uses the model's own modules beyond their weights, so that a fault in those shows. A fault in the config
does not show here: both read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor

from neuron_explainer.checking.formulas.mlp_formulas import (
    Weights,
    expected_of_experts,
    expected_of_mlp,
    has_certain_experts,
    linear,
)
from neuron_explainer.checking.formulas.rotated import rotated
from neuron_explainer.checking.passes import Recorded
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.block import residual_before
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

_P = ActivationLocationType
_OF_EXPERTS = (_P.MLP_PRE_ACT, _P.MLP_POST_ACT, _P.RESID_DELTA_MLP)
"""The places where it matters which experts were chosen."""


def expected_in_layer(model: Transformer, layer: int, found: Recorded, n_tokens: int) -> dict[PlaceAndLayer, Tensor]:
    """The tensors of a layer's places, each from what was recorded just before it.

    Args:
        model: the model.
        layer: the layer.
        found: what was recorded, of all places; of the whole prompts or of their beginnings.
        n_tokens: how many tokens the pass has, padding included.
    """
    config, weights = model.config, _Precise(dict(model.blocks[layer].named_parameters()))
    at = {place: _precise_tensor(found[place, layer]) for place, number in found if number == layer}
    read = _precise_tensor(found[residual_before(layer)])
    made = dict[ActivationLocationType, Tensor]()
    made[_P.ATTN_INPUT_LAYER_NORM_SCALE], made[_P.RESID_POST_MLP_LAYER_NORM] = _normed(
        config, weights, "attention_norm", read, at[_P.ATTN_INPUT_LAYER_NORM_SCALE]
    )
    queries, keys, values = _projected(config, weights, at[_P.RESID_POST_MLP_LAYER_NORM])
    root = config.attention_scale_by_layer[layer] ** 0.5
    queries, keys = (_head_norm(config, weights, name, each) for name, each in (("query", queries), ("key", keys)))
    rotary = config.rotary_by_layer[layer]
    if rotary is not None:
        queries, keys = (rotated(rotary, each, n_tokens) for each in (queries, keys))
    if config.query_growth and config.query_growth_length:
        steps = torch.arange(queries.shape[1], dtype=torch.int64, device=queries.device) // config.query_growth_length
        queries = queries * (1 + config.query_growth * torch.log1p(steps.to(queries.dtype)))[:, None, None]
    times = config.n_heads // config.n_key_value_heads
    made[_P.ATTN_QUERY] = queries * root
    made[_P.ATTN_KEY] = keys.repeat_interleave(times, 2) * root
    made[_P.ATTN_VALUE] = values.repeat_interleave(times, 2)
    made[_P.ATTN_QK_LOGITS] = _logits(config, layer, at[_P.ATTN_QUERY], at[_P.ATTN_KEY])
    made[_P.ATTN_QK_PROBS] = _pattern(weights, at[_P.ATTN_QK_LOGITS])
    made[_P.ATTN_WEIGHTED_SUM_OF_VALUES] = torch.einsum("bqkh,bkhc->bqhc", at[_P.ATTN_QK_PROBS], at[_P.ATTN_VALUE])
    summed = at[_P.ATTN_WEIGHTED_SUM_OF_VALUES].flatten(2)
    written = linear(weights, "attention.output", summed)
    made[_P.RESID_DELTA_ATTN] = _added(config, weights, "attention_post_norm", written)
    made[_P.RESID_POST_ATTN] = read + at[_P.RESID_DELTA_ATTN]
    mlp_read = read if config.parallel_residual else at[_P.RESID_POST_ATTN]
    norm = "attention_norm" if config.shared_norm else "mlp_norm"
    made[_P.MLP_INPUT_LAYER_NORM_SCALE], made[_P.RESID_POST_ATTN_LAYER_NORM] = _normed(
        config, weights, norm, mlp_read, at[_P.MLP_INPUT_LAYER_NORM_SCALE]
    )
    made |= (expected_of_experts if config.n_experts else expected_of_mlp)(config, weights, at)
    made[_P.RESID_DELTA_MLP] = _added(config, weights, "mlp_post_norm", made[_P.RESID_DELTA_MLP])
    made[_P.RESID_POST_MLP] = at[_P.RESID_POST_ATTN] + at[_P.RESID_DELTA_MLP]
    return {(place, layer): tensor for place, tensor in made.items()}


def certain_tokens(model: Transformer, key: PlaceAndLayer, found: Recorded) -> Bool[Tensor, "batch tokens"] | None:
    """The tokens at which the formulas say what is right; None: all.

    Where a router has nearly equal scores, rounding decides which experts are chosen.

    Args:
        model: the model.
        key: place and layer.
        found: what was recorded, of all places.
    """
    place, layer = key
    if not model.config.n_experts or layer is None or place not in _OF_EXPERTS:
        return None
    weights = _Precise(dict(model.blocks[layer].named_parameters()))
    normed = _precise_tensor(found[_P.RESID_POST_ATTN_LAYER_NORM, layer])
    return has_certain_experts(model.config, weights, normed, model.dtype).cpu()


def expected_at_ends(model: Transformer, found: Recorded, tokens: Tensor) -> dict[PlaceAndLayer, Tensor]:
    """The tensors of the places without layers: the embedding, the final norm and the logits."""
    config = model.config
    own = {name: each for name, each in model.named_parameters() if not name.startswith("blocks.")}
    embedded = own["embedding"][tokens.to(own["embedding"].device)]
    scale = torch.tensor(config.embedding_scale, dtype=torch.float32, device="cpu")
    factor = float(scale.to(own["embedding"].dtype)) if config.rounds_embedding_scale else config.embedding_scale
    embedded = embedded * factor
    if config.learned_positions:
        embedded = embedded + own["position_embedding"][: tokens.shape[1]]
    read = _precise_tensor(found[_P.RESID_POST_MLP, config.n_layers - 1])
    norm = _Precise({name: each for name, each in own.items() if name.startswith("final_norm.")})
    scale_found = _precise_tensor(found[_P.RESID_FINAL_LAYER_NORM_SCALE, None])
    final_scale, normed = _normed(config, norm, "final_norm", read, scale_found, always=True)
    last = _precise_tensor(found[_P.RESID_POST_FINAL_LAYER_NORM, None])
    unembedding = _precise_tensor(own.get("unembedding", own["embedding"]))
    logits = last @ unembedding.T * config.logits_scale
    if "unembedding_bias" in own:
        logits = logits + _precise_tensor(own["unembedding_bias"]) * config.logits_scale
    if config.logits_softcap is not None:
        logits = config.logits_softcap * torch.tanh(logits / config.logits_softcap)
    return {
        (_P.RESID_POST_EMBEDDING, None): embedded,
        (_P.RESID_FINAL_LAYER_NORM_SCALE, None): final_scale,
        (_P.RESID_POST_FINAL_LAYER_NORM, None): normed,
        (_P.LOGITS, None): logits,
    }


def _normed(
    config: TransformerConfig, weights: Weights, name: str, read: Tensor, scale: Tensor, *, always: bool = False
) -> tuple[Tensor, Tensor]:
    """The scale of a norm of what is read, and the norm with the recorded scale."""
    if not config.input_norms and not always:
        return torch.ones_like(read[..., :1]), read
    centred, made = _centred_and_scale(config, read, is_centred=config.norm_kind == "layer_norm")
    normed = centred / scale * (weights[f"{name}.gain"] + config.norm_gain_offset)
    return made, normed + weights[f"{name}.bias"] if f"{name}.bias" in weights else normed


def _centred_and_scale(config: TransformerConfig, x: Tensor, *, is_centred: bool) -> tuple[Tensor, Tensor]:
    """What a norm divides, and by what."""
    centred = x - x.mean(-1, keepdim=True) if is_centred else x
    return centred, (centred.pow(2).mean(-1, keepdim=True) + config.norm_epsilon).sqrt()


def _projected(config: TransformerConfig, weights: Weights, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as the projections give them; keys and values each once."""
    groups, channels = config.n_key_value_heads, config.d_head
    if config.qkv_layout == "separate":
        queries, keys, values = (
            linear(weights, f"attention.{name}", normed).unflatten(-1, (-1, channels))
            for name in ("query", "key", "value")
        )
        return queries, keys, values
    fused = linear(weights, "attention.qkv", normed).unflatten(-1, (-1, channels))
    if config.qkv_layout == "fused":
        queries, keys, values = fused.split([config.n_heads, groups, groups], dim=2)
        return queries, keys, values
    by_group = fused.unflatten(2, (groups, -1))
    return by_group[:, :, :, :-2].flatten(2, 3), by_group[:, :, :, -2], by_group[:, :, :, -1]


def _head_norm(config: TransformerConfig, weights: Weights, part: str, heads: Tensor) -> Tensor:
    """Queries or keys after their norm, if they have one."""
    if config.query_key_norm is None:
        return heads
    gain = weights[f"attention.{part}_norm.gain"] + (
        0.0 if config.query_key_norm == "layer_norm_by_head" else config.norm_gain_offset
    )
    joined = config.query_key_norm == "rms_of_projection"
    x = heads.flatten(2) if joined else heads
    centred, scale = _centred_and_scale(config, x, is_centred=config.query_key_norm == "layer_norm_by_head")
    return (centred / scale * gain).view_as(heads)


def _logits(config: TransformerConfig, layer: int, queries: Tensor, keys: Tensor) -> Tensor:
    products = torch.einsum("bqhc,bkhc->bqkh", queries, keys)
    if config.attention_softcap is not None:
        products = config.attention_softcap * torch.tanh(products / config.attention_softcap)
    position = torch.arange(queries.shape[1], dtype=torch.int64, device=queries.device)
    back = position[:, None] - position
    window = config.sliding_window_by_layer[layer]
    hidden = (back < 0) | (back >= window) if window is not None else back < 0
    return products.masked_fill(hidden[:, :, None], -math.inf)


def _pattern(weights: Weights, logits: Tensor) -> Tensor:
    highest = logits.amax(2, keepdim=True)
    exponentials = (logits - highest).exp()
    total = exponentials.sum(2, keepdim=True)
    if "attention.sinks" in weights:
        total = total + (weights["attention.sinks"] - highest).exp()
    return exponentials / total


def _added(config: TransformerConfig, weights: Weights, post_norm: str, written: Tensor) -> Tensor:
    """What is added to the residual stream, for what attention or the MLP wrote."""
    if config.post_norms:
        _, scale = _centred_and_scale(config, written, is_centred=config.norm_kind == "layer_norm")
        _, written = _normed(config, weights, post_norm, written, scale, always=True)
    return written * config.residual_multiplier


class _Precise(Mapping[str, Tensor]):
    """Weights as at least float32, each made when it is asked for: a layer may have many experts."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> Tensor:
        return _precise_tensor(self._weights[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _precise_tensor(tensor: Tensor) -> Tensor:
    return tensor.detach() if tensor.dtype == torch.float64 else tensor.detach().float()
