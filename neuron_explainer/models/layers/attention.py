"""Self-attention, by PyTorch's fused kernel unless an inner place is recorded or intervened on."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuron_explainer.models.hooks.taps import NO_TAPS, Taps, at_place
from neuron_explainer.models.layers.attention_weights import AttentionWeights
from neuron_explainer.models.layers.norms import RMSNorm
from neuron_explainer.models.layers.rotary import RotaryEmbedding
from neuron_explainer.models.layers.span import Span
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_INNER_PLACES = frozenset({_PLACE.ATTN_QK_LOGITS, _PLACE.ATTN_QK_PROBS})


class Attention(AttentionWeights):
    """Queries, keys, values, attention pattern, and the output of the heads.

    Attention logits are s = (q · k) * scale. Recorded queries and keys are each multiplied by sqrt(scale).
    """

    def __init__(self, config: TransformerConfig, layer: int, rotary: RotaryEmbedding | None) -> None:
        super().__init__(config)
        self.layer = layer
        self.scale = config.attention_scale_by_layer[layer]
        self.root_scale = math.sqrt(self.scale)
        self.window = config.sliding_window_by_layer[layer]
        self.softcap = config.attention_softcap
        self.rotary = rotary
        self.query_norm = RMSNorm(config.d_head, config.norm_epsilon) if config.query_key_norm else None
        self.key_norm = RMSNorm(config.d_head, config.norm_epsilon) if config.query_key_norm else None

    def placed_queries(
        self, raw: Float[Tensor, "batch tokens heads d_head"], span: Span
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """Queries, normalised and rotated to their positions if the family does so."""
        normed = raw if self.query_norm is None else self.query_norm(raw)
        return normed if self.rotary is None else self.rotary.rotate(normed, *span.rotation(self.rotary, raw.dtype))

    def placed_keys(
        self, raw: Float[Tensor, "batch tokens heads d_head"], span: Span
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """Keys, normalised and rotated to their positions if the family does so."""
        normed = raw if self.key_norm is None else self.key_norm(raw)
        return normed if self.rotary is None else self.rotary.rotate(normed, *span.rotation(self.rotary, raw.dtype))

    def repeated(
        self, heads: Float[Tensor, "batch tokens some_heads d_head"]
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """Keys or values, one for each head: shared ones are repeated for the heads that share them."""
        times = self.n_heads // heads.shape[2]
        if times == 1:
            return heads
        batch, tokens, shared, channels = heads.shape
        return heads.unsqueeze(3).expand(batch, tokens, shared, times, channels).flatten(2, 3)

    def logits(
        self,
        queries: Float[Tensor, "batch tokens heads d_head"],
        keys: Float[Tensor, "batch keys heads d_head"],
        span: Span,
        scale: float = 1.0,
    ) -> Float[Tensor, "batch heads tokens keys"]:
        """Attention logits, -inf where a token may not attend."""
        batch, tokens, heads, channels = queries.shape
        by_head = queries.transpose(1, 2).reshape(batch * heads, tokens, channels)
        keys_by_head = keys.permute(0, 2, 3, 1).reshape(batch * heads, channels, keys.shape[1])
        mask = span.mask(self.window, queries.dtype)
        if self.softcap is None:
            if len(mask) == 1:
                logits = torch.baddbmm(mask[0], by_head, keys_by_head, alpha=scale)
                return logits.view(batch, heads, tokens, keys.shape[1])
            return torch.bmm(by_head, keys_by_head).view(batch, heads, tokens, keys.shape[1]) * scale + mask
        logits = torch.bmm(by_head, keys_by_head).view(batch, heads, tokens, keys.shape[1]) * (scale / self.softcap)
        return logits.tanh() * self.softcap + mask

    def forward(
        self, normed: Float[Tensor, "batch tokens d_model"], span: Span, taps: Taps = NO_TAPS
    ) -> Float[Tensor, "batch tokens d_model"]:
        """The output of attention, from the normalised residual stream; places on the way are tapped."""
        queries, keys, values = self.project(normed)
        queries, keys = self.placed_queries(queries, span), self.placed_keys(keys, span)
        scale = self.scale
        if _PLACE.ATTN_QUERY in taps:
            queries, scale = taps[_PLACE.ATTN_QUERY](queries * self.root_scale), scale / self.root_scale
        if _PLACE.ATTN_KEY in taps:
            keys, scale = taps[_PLACE.ATTN_KEY](self.repeated(keys) * self.root_scale), scale / self.root_scale
        elif span.cache is not None:  # cached keys have the same scale, recorded or not
            keys, scale = keys * self.root_scale, scale / self.root_scale
        if _PLACE.ATTN_VALUE in taps:
            values = taps[_PLACE.ATTN_VALUE](self.repeated(values))
        if span.cache is not None:
            keys, values = span.cache.extend(self.layer, span.position_ids, span.starts, keys, values)
        keys, values = self.repeated(keys), self.repeated(values)
        if self.softcap is not None or not _INNER_PLACES.isdisjoint(taps):
            summed = self._unfused(queries, keys, values, scale, span, taps)
        else:
            summed = self._fused(queries, keys, values, scale, span)
        return self.output(at_place(taps, _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES, summed))

    def _fused(self, queries: Tensor, keys: Tensor, values: Tensor, scale: float, span: Span) -> Tensor:
        is_causal = span.is_whole_prompt and span.window_that_matters(self.window) is None
        needs_mask = not is_causal and not span.sees_everything(self.window)
        return nn.functional.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=span.mask(self.window, queries.dtype) if needs_mask else None,
            is_causal=is_causal,
            scale=scale,
        ).transpose(1, 2)

    def _unfused(
        self, queries: Tensor, keys: Tensor, values: Tensor, scale: float, span: Span, taps: Taps
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        logits = self.logits(queries, keys, span, scale)
        logits_tap, probs_tap = taps.get(_PLACE.ATTN_QK_LOGITS), taps.get(_PLACE.ATTN_QK_PROBS)
        if logits_tap is not None:
            logits = logits_tap(logits.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        probs = logits.softmax(-1)
        if probs_tap is not None:
            probs = probs_tap(probs.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return (probs @ values.transpose(1, 2)).transpose(1, 2)
