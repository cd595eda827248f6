"""Faults of passes that compute a part, of caches in use, and of interventions together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from checking.code_mutants import Patched
from neuron_explainer.models import transformer as of_transformer
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.hooks.taps import Tap
from neuron_explainer.models.layers import key_value_cache as of_cache
from neuron_explainer.models.layers import logit_positions
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.span import Span
from neuron_explainer.models.transformer import Transformer


def next_token_sees_the_first_alone(model: Transformer, patched: Patched) -> None:
    """One new token of prompts that are equally long counts as a whole prompt, so it sees the first key alone."""

    def is_whole(span: Span) -> bool:
        return span.n_keys == span.n_tokens or (span.n_tokens == 1 and len(span.starts) == 1)

    patched(Span, "is_whole_prompt", property(is_whole))


def next_token_has_no_window(model: Transformer, patched: Patched) -> None:
    patched(Span, "sees_everything", lambda self, window: self.n_tokens == 1 and len(self.starts) == 1)


def three_prompts_mixed_in_the_cache(model: Transformer, patched: Patched) -> None:
    extended = KeyValueCache.extend

    def extend(self: KeyValueCache, *arguments: Any) -> Any:
        keys, values = extended(self, *arguments)
        return (keys.roll(1, 0), values.roll(1, 0)) if len(keys) >= 3 and self.lengths else (keys, values)

    patched(KeyValueCache, "extend", extend)


def keys_repeated_in_another_order(model: Transformer, patched: Patched) -> None:
    """Keys of each head, after an intervention on them, are followed by others that are repeated in another order."""

    def repeated(heads: Tensor, n_heads: int) -> Tensor:
        return heads.repeat(1, n_heads // heads.shape[1], 1, 1)

    patched(of_cache, "_repeated", repeated)


def chosen_logits_one_early(model: Transformer, patched: Patched) -> None:
    taken = logit_positions.at_positions

    def at_positions(resid: Tensor, at: Any, counts: Any) -> Tensor:
        return taken(resid, (at - 1).clamp(min=0) if isinstance(at, Tensor) else at, counts)

    patched(of_transformer, "at_positions", at_positions)


def other_numbers_without_logits(model: Transformer, patched: Patched) -> None:
    run = Transformer._run_from

    def run_from(self: Transformer, first: int, resid: Tensor, span: Span, at: Any, *others: Any) -> Any:
        return run(self, first, resid * 1.1 if at is None else resid, span, at, *others)

    patched(Transformer, "_run_from", run_from)


def one_place_alone_too_large(model: Transformer, patched: Patched) -> None:
    stored = Recording.store

    def store(self: Recording, key: Any, tensor: Any) -> None:
        stored(self, key, tensor * 1.5 if len(self.asked) == 1 else tensor)

    patched(Recording, "store", store)


def last_logits_beside_a_recorded_norm(model: Transformer, patched: Patched) -> None:
    read_out = Transformer._read_out

    def rolled(self: Transformer, resid: Tensor, at: Any, counts: Any, plan: Any) -> Any:
        logits = read_out(self, resid, at, counts, plan)
        is_last = isinstance(at, str) and at == "last"
        return logits.roll(1, -1) if logits is not None and is_last and plan.taps(None) else logits

    patched(Transformer, "_read_out", rolled)


def read_out_alone_too_large(model: Transformer, patched: Patched) -> None:
    run = Transformer.forward_from

    def forward_from(self: Transformer, layer: int, resid: Tensor, **options: Any) -> Any:
        logits = run(self, layer, resid, **options)
        return logits * 1.1 if layer == self.config.n_layers and logits is not None else logits

    patched(Transformer, "forward_from", forward_from)


def upper_layers_without_interventions(model: Transformer, patched: Patched) -> None:
    run = Transformer.forward_from

    def forward_from(self: Transformer, layer: int, resid: Tensor, **options: Any) -> Any:
        return run(self, layer, resid, **(options | {"hooks": ()}))

    patched(Transformer, "forward_from", forward_from)


def behind_recordings_ignored(model: Transformer, patched: Patched) -> None:
    _with_other_hooks(patched, "after", lambda hooks: [])


def reversed_at_a_place(model: Transformer, patched: Patched) -> None:
    _with_other_hooks(patched, "before", lambda hooks: hooks[::-1])


def _with_other_hooks(patched: Patched, name: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """A tap has other interventions before or after recordings while it is applied."""
    tapped = Tap.__call__

    def call(self: Tap, tensor: Any) -> Any:
        right = getattr(self, name)
        setattr(self, name, change(right))
        try:
            return tapped(self, tensor)
        finally:
            setattr(self, name, right)

    patched(Tap, "__call__", call)


def first_of_its_layers_alone(model: Transformer, patched: Patched) -> None:
    applied = Intervention.apply

    def apply(self: Intervention, key: Any, tensor: Tensor, *others: Any, **options: Any) -> Any:
        if len(self.places) > 1 and key != min(self.places, key=str):
            return tensor, True
        return applied(self, key, tensor, *others, **options)

    patched(Intervention, "apply", apply)


def padding_on_the_left_taken(model: Transformer, patched: Patched) -> None:
    patched(of_transformer, "lengths_of_prompts", lambda mask, shape: mask.sum(1).to(torch.int64))
