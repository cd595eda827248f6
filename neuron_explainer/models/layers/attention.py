"""Self-attention, by PyTorch's fused kernel unless an inner place is recorded or intervened on."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuron_explainer.models.hooks.neutral import scaled_tap, with_plain_value
from neuron_explainer.models.hooks.taps import NO_TAPS, Tap, Taps, at_place
from neuron_explainer.models.layers.attention_weights import AttentionWeights
from neuron_explainer.models.layers.norms import Norm, at_least_float32, build_query_key_norm
from neuron_explainer.models.layers.rotary import RotaryEmbedding
from neuron_explainer.models.layers.span import Span
from neuron_explainer.models.layers.unfilled import unfilled
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
        self.sinks = unfilled(config.n_heads) if config.attention_sinks else None
        self.query_growth = config.query_growth
        self.query_growth_length = config.query_growth_length
        self.rotary = rotary
        self.normalises_projection = config.query_key_norm == "rms_of_projection"
        self.query_norm = build_query_key_norm(config, config.n_heads)
        self.key_norm = build_query_key_norm(config, config.n_key_value_heads)

    def placed_queries(
        self, raw: Float[Tensor, "batch tokens heads d_head"], span: Span, detach_scale: bool = False
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """Queries, normalised, rotated to their positions and grown with them if the family does so."""
        normed = self._normed(raw, self.query_norm, detach_scale)
        placed = normed if self.rotary is None else self.rotary.rotate(normed, *span.rotation(self.rotary, raw.dtype))
        if not self.query_growth or self.query_growth_length is None:
            return placed
        growth = 1 + self.query_growth * (1 + span.position_ids // self.query_growth_length).log()
        return placed * growth[..., None, None].to(raw.dtype)

    def placed_keys(
        self, raw: Float[Tensor, "batch tokens heads d_head"], span: Span, detach_scale: bool = False
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """Keys, normalised and rotated to their positions if the family does so."""
        normed = self._normed(raw, self.key_norm, detach_scale)
        return normed if self.rotary is None else self.rotary.rotate(normed, *span.rotation(self.rotary, raw.dtype))

    def _normed(
        self, raw: Tensor, norm: Norm | None, detach_scale: bool
    ) -> Float[Tensor, "batch tokens some_heads d_head"]:
        if norm is None:
            return raw
        normed: Tensor = norm(raw.flatten(2) if self.normalises_projection else raw, detach_scale)
        return normed.view_as(raw)

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
        return self._precise_logits(queries, keys, span, scale).to(queries.dtype)

    def _precise_logits(
        self, queries: Tensor, keys: Tensor, span: Span, scale: float
    ) -> Float[Tensor, "batch heads tokens keys"]:
        """Attention logits in float32 at least: rounded ones would change the pattern by far more than the kernel."""
        batch, tokens, heads, channels = queries.shape
        by_head = at_least_float32(queries).transpose(1, 2).reshape(batch * heads, tokens, channels)
        keys_by_head = at_least_float32(keys).permute(0, 2, 3, 1).reshape(batch * heads, channels, keys.shape[1])
        mask = span.mask(self.window, by_head.dtype)
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
        queries = scaled_tap(taps.get(_PLACE.ATTN_QUERY), queries, self.root_scale)
        keys = self._one_for_each_head(taps.get(_PLACE.ATTN_KEY), keys, self.root_scale)
        values = self._one_for_each_head(taps.get(_PLACE.ATTN_VALUE), values, 1.0)
        if span.cache is not None:
            keys, values = span.cache.extend(self.layer, span.position_ids, span.starts, keys, values)
        keys, values = self.repeated(keys), self.repeated(values)
        summed = self._weighted_sum(queries, keys, values, span, taps)
        return self.output(at_place(taps, _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES, summed))

    def _one_for_each_head(self, tap: Tap | None, shared: Tensor, factor: float) -> Tensor:
        """Keys or values after a tap, which sees `factor` times one of them for each head."""
        if tap is None:
            return shared
        tapped = scaled_tap(tap, self.repeated(shared), factor)
        return shared if tap.only_observes else tapped

    def _weighted_sum(
        self, queries: Tensor, keys: Tensor, values: Tensor, span: Span, taps: Taps
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """What each head sums; by the fused kernel, unless logits are capped or there are sinks, which it cannot do."""
        inner = [taps[place] for place in _INNER_PLACES if place in taps]
        if not inner or self._needs_pattern:
            return self._plain_sum(queries, keys, values, span, taps)
        if all(tap.only_observes for tap in inner):
            with torch.no_grad():
                self._pattern(queries, keys, span, taps)
            return self._plain_sum(queries, keys, values, span)
        path = self._sum_by(self._pattern(queries, keys, span, taps), values)
        may_change = any(tap.has_forward_interventions for tap in inner)
        with torch.no_grad():
            plain = self._plain_sum(queries, keys, values, span)
            same = self._sum_by(self._pattern(queries, keys, span), values) == path if may_change else None
        return with_plain_value(path, plain, same)

    def _plain_sum(
        self, queries: Tensor, keys: Tensor, values: Tensor, span: Span, taps: Taps = NO_TAPS
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        if self._needs_pattern:
            return self._sum_by(self._pattern(queries, keys, span, taps), values)
        is_causal = span.is_whole_prompt and span.window_that_matters(self.window) is None
        needs_mask = not is_causal and not span.sees_everything(self.window)
        return nn.functional.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=span.mask(self.window, queries.dtype) if needs_mask else None,
            is_causal=is_causal,
            scale=self.scale,
        ).transpose(1, 2)

    def _pattern(
        self, queries: Tensor, keys: Tensor, span: Span, taps: Taps = NO_TAPS
    ) -> Float[Tensor, "batch heads tokens keys"]:
        """The attention pattern; logits and pattern are tapped in the model's dtype."""
        logits_tap, probs_tap = taps.get(_PLACE.ATTN_QK_LOGITS), taps.get(_PLACE.ATTN_QK_PROBS)
        logits = self._precise_logits(queries, keys, span, self.scale)
        if logits_tap is not None:
            rounded = logits.to(queries.dtype)
            before = rounded.clone() if logits_tap.has_forward_interventions else None
            tapped = logits_tap(rounded.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            if not logits_tap.only_observes:  # rounding is not a change
                logits = with_plain_value(tapped.to(logits.dtype), logits, None if before is None else tapped == before)
        probs = self.pattern(logits).to(queries.dtype)
        return probs if probs_tap is None else probs_tap(probs.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    @property
    def _needs_pattern(self) -> bool:
        return self.softcap is not None or self.sinks is not None

    def pattern(self, logits: Float[Tensor, "batch heads tokens keys"]) -> Float[Tensor, "batch heads tokens keys"]:
        """The attention pattern of logits. Where heads have sinks, these take a share, and rows sum to less than 1."""
        if self.sinks is None:
            return logits.softmax(-1)
        sinks = self.sinks.to(logits.dtype)[:, None, None].expand(*logits.shape[:-1], 1)
        return torch.cat((logits, sinks), dim=-1).softmax(-1)[..., :-1]

    def _sum_by(self, pattern: Tensor, values: Tensor) -> Float[Tensor, "batch tokens heads d_head"]:
        return (pattern @ values.transpose(1, 2)).transpose(1, 2)
