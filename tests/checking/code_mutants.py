"""Faults of the code that runs passes, planted by patching it: caches, interventions, long prompts, single passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.models.hooks.contexts import Hooks
from neuron_explainer.models.hooks.intervention import GradientReplaced, Intervention
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.mlp import MLP
from neuron_explainer.models.layers.rotary import RotaryEmbedding
from neuron_explainer.models.layers.span import Span
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

Patched = Callable[[Any, str, Any], None]
"""pytest's monkeypatch.setattr."""


def stale_cache(model: Transformer, patched: Patched) -> None:
    def extend(self: KeyValueCache, layer: int, position_ids: Any, starts: Any, keys: Tensor, values: Tensor) -> Any:
        before = extended(self, layer, position_ids, starts, keys, values)
        return before[0], torch.cat((before[1][:, :-1], before[1][:, :1]), 1)  # the newest value is the oldest

    extended = KeyValueCache.extend
    patched(KeyValueCache, "extend", extend)


def cache_one_late(model: Transformer, patched: Patched) -> None:
    made = Span.__init__

    def init(self: Span, n_tokens: int, device: torch.device, cache: KeyValueCache | None = None) -> None:
        made(self, n_tokens, device, cache)
        if cache is not None and cache.lengths:
            self.position_ids = self.position_ids + 1

    patched(Span, "__init__", init)


def positions_one_late(model: Transformer, patched: Patched) -> None:
    tables = RotaryEmbedding.at

    def at(self: RotaryEmbedding, position_ids: Tensor, n_positions: int, dtype: torch.dtype) -> Any:
        return tables(self, position_ids * 2, 2 * n_positions, dtype)

    patched(RotaryEmbedding, "at", at)


def cache_swaps_prompts(model: Transformer, patched: Patched) -> None:
    extended = KeyValueCache.extend

    def extend(self: KeyValueCache, *arguments: Any) -> Any:
        keys, values = extended(self, *arguments)
        return (keys.flip(0), values.flip(0)) if len(keys) == 2 and self.lengths else (keys, values)

    patched(KeyValueCache, "extend", extend)


def cache_of_one_length(model: Transformer, patched: Patched) -> None:
    advanced = KeyValueCache.advance

    def advance(self: KeyValueCache, counts: list[int]) -> None:
        advanced(self, [max(counts)] * len(counts))

    patched(KeyValueCache, "advance", advance)


def _intervening(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Transformer, Patched], None]:
    """Interventions that give something else, made of what was there before and of their result."""

    def plant(model: Transformer, patched: Patched) -> None:
        applied = Intervention.apply

        def apply(self: Intervention, key: Any, tensor: Tensor, span: Span, may_overwrite: bool = True) -> Any:
            before = tensor.clone()
            result, _ = applied(self, key, tensor.clone(), span, False)
            return change(before, result), False

        patched(Intervention, "apply", apply)

    return plant


def _half(before: Tensor, result: Tensor) -> Tensor:
    return torch.where(before.isfinite() & result.isfinite(), before + (result - before) / 2, result)


def _early(before: Tensor, result: Tensor) -> Tensor:
    return torch.cat((result[:, :3], before[:, 3:]), 1) if before.ndim > 2 and before.shape[1] > 3 else result


half_interventions = _intervening(_half)
interventions_on_early_tokens = _intervening(_early)


def interventions_applied_twice(model: Transformer, patched: Patched) -> None:
    applied = Intervention.apply

    def apply(self: Intervention, key: Any, tensor: Tensor, span: Span, may_overwrite: bool = True) -> Any:
        once, _ = applied(self, key, tensor.clone(), span, False)
        return applied(self, key, once.clone(), span, False)[0], False

    patched(Intervention, "apply", apply)


def interventions_ignored_with_a_cache(model: Transformer, patched: Patched) -> None:
    applied = Intervention.apply

    def apply(self: Intervention, key: Any, tensor: Tensor, span: Span, may_overwrite: bool = True) -> Any:
        if span.cache is None:
            return applied(self, key, tensor, span, may_overwrite)
        self.n_fired += 1
        return tensor, True

    patched(Intervention, "apply", apply)


def gradients_left_as_they_are(model: Transformer, patched: Patched) -> None:
    patched(GradientReplaced, "backward", staticmethod(lambda context, *gradients: (gradients[0], None)))


def last_logits_rolled(model: Transformer, patched: Patched) -> None:
    read_out = Transformer._read_out

    def read(self: Transformer, resid: Tensor, logits_at: Any, counts: Any, plan: Any) -> Any:
        logits = read_out(self, resid, logits_at, counts, plan)
        return (
            logits.roll(1, -1) if isinstance(logits_at, str) and logits_at == "last" and logits is not None else logits
        )

    patched(Transformer, "_read_out", read)


def doubled_from_a_layer_on(model: Transformer, patched: Patched) -> None:
    run = Transformer.forward_from

    def forward_from(self: Transformer, *arguments: Any, **options: Any) -> Any:
        logits = run(self, *arguments, **options)
        return None if logits is None else logits * 2

    patched(Transformer, "forward_from", forward_from)


def late_mask(model: Transformer, patched: Patched) -> None:
    masked = Span.mask

    def mask(self: Span, window: int | None, dtype: torch.dtype) -> Tensor:
        plain = masked(self, window, dtype).clone()
        plain[..., 24:, 0] = float("-inf")
        return plain

    patched(Span, "mask", mask)


def late_positions(model: Transformer, patched: Patched) -> None:
    positions_late_from(24, patched)


def positions_late_from(first: int, patched: Patched) -> None:
    made = Span.__init__

    def init(self: Span, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        self.position_ids = torch.where(self.position_ids >= first, self.position_ids - 1, self.position_ids)

    patched(Span, "__init__", init)


def _mlp_of_layer_1(change: Callable[[Tensor, int], Tensor]) -> Callable[[Transformer, Patched], None]:
    """An MLP that gives something else, made of its result and of how often it has run before."""

    def plant(model: Transformer, patched: Patched) -> None:
        mlp, n = model.blocks[1].mlp, [0]
        plain = mlp.forward

        def forward(normed: Tensor, *arguments: Any) -> Tensor:
            n[0] += 1
            return change(plain(normed, *arguments), n[0])

        object.__setattr__(mlp, "forward", forward)

    return plant


def _larger_in_second_row(written: Tensor, n_runs: int) -> Tensor:
    return torch.cat((written[:1], 1.5 * written[1:2], written[2:]))


one_of_ten_passes = _mlp_of_layer_1(lambda written, n_runs: written * 1.1 if n_runs % 10 == 9 else written)
wrong_second_prompt = _mlp_of_layer_1(_larger_in_second_row)


def negative_weights(model: Transformer, patched: Patched) -> None:
    """One head's weights are negative at a token, and sum to 1."""
    attention = model.blocks[1].attention
    plain = attention.pattern

    def pattern(logits: Tensor) -> Tensor:
        weights = plain(logits).clone()
        if weights.shape[-1] > 2:
            weights[:, 1, 2, 0] -= 0.5
            weights[:, 1, 2, 1] += 0.5
        return weights

    object.__setattr__(attention, "pattern", pattern)


def three_mixed_up(model: Transformer, patched: Patched) -> None:
    right = MLP.forward

    def wrong(self: MLP, hidden: Tensor, *arguments: Any) -> Any:
        output = right(self, hidden, *arguments)
        return output.flip(0) if len(hidden) == 3 else output

    patched(MLP, "forward", wrong)


def ignored_hook(model: Transformer, patched: Patched) -> None:
    applied = Intervention.apply

    def apply(self: Intervention, key: Any, tensor: Tensor, span: Span, may_overwrite: bool = True) -> Any:
        applied(self, key, tensor.clone(), span, False)
        return tensor, False

    patched(Intervention, "apply", apply)


def hook_on_all_rows(model: Transformer, patched: Patched) -> None:
    applied = Intervention.apply

    def apply(self: Intervention, key: Any, tensor: Tensor, span: Span, may_overwrite: bool = True) -> Any:
        before = tensor.clone()
        result, _ = applied(self, key, tensor, span, False)
        return before + (result - before).nan_to_num().sum(0, keepdim=True), False

    patched(Intervention, "apply", apply)


def recording_before(model: Transformer, patched: Patched) -> None:
    """Recordings have numbers that the pass does not go on with."""
    stored = Recording.store

    def store(self: Recording, key: Any, tensor: Any) -> None:
        stored(self, key, tensor * 0.9 if key[0] is Place.MLP_POST_ACT else tensor)

    patched(Recording, "store", store)


def shared_contexts(model: Transformer, patched: Patched) -> None:
    """Recordings and interventions of all threads take part in every pass."""
    everyones: list[Any] = []

    def enter(self: Hooks, hook: Any, owner: Any) -> None:
        everyones.append(hook)

    def leave(self: Hooks, hook: Any) -> None:
        hook.has_ended = True
        everyones.remove(hook)

    patched(Hooks, "enter", enter)
    patched(Hooks, "leave", leave)
    patched(Hooks, "entered", lambda self: tuple(everyones))


def mask_one_off(model: Transformer, patched: Patched) -> None:
    masked = Span.mask

    def mask(self: Span, window: int | None, dtype: torch.dtype) -> Tensor:
        plain = masked(self, window, dtype)
        return torch.cat((plain[..., 1:, :], plain[..., -1:, :]), dim=-2)

    patched(Span, "mask", mask)
