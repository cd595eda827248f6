"""Sliding windows that are longer than the usual prompts: one layer of each, over a prompt that is longer still."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neuron_explainer.checking.alone.patterns import attention_rows_of
from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.checking.probes import Probe, random_probe
from neuron_explainer.models.offload.free_memory import free_bytes
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType.ATTN_QK_PROBS
N_FAR = 2048
"""How long the prompt is in which one layer of each kind is looked at."""
MOST_TOKENS, BEYOND = 8192, 8
"""How long a prompt may be, and by how much it is longer than what it is to reach beyond."""
_COPIES = 6
"""How often a pattern, or logits, are in memory at once, while they are made and looked at."""


def n_beyond_windows(model: Transformer) -> int | None:
    """How long a prompt beyond the longest window is that there is room for; None without such a window."""
    room = min(MOST_TOKENS, model.config.max_context_length)
    return max((n + BEYOND for n in _windows(model) if n + BEYOND <= room), default=None)


def stretched_from(config: TransformerConfig) -> list[int]:
    """After how many tokens positions are read otherwise, as by long factors (longrope) or as queries grow."""
    found = {
        rotary.original_context_length
        for rotary in config.rotary_by_layer
        if rotary is not None and rotary.scaling == "longrope"
    }
    if config.query_growth and config.query_growth_length is not None:
        found.add(config.query_growth_length)
    return sorted(found)


def not_reached(model: Transformer, n_tokens: int, *, thorough: bool, has_reference: bool) -> Iterator[Finding]:
    """What prompts do not reach.

    Args:
        model: the model.
        n_tokens: how long the longest prompt is.
        thorough: whether one prompt more reaches beyond each window, and with a reference beyond stretched contexts.
        has_reference: whether there is a reference.
    """
    windows = [n for n in _windows(model) if n >= n_tokens]
    if windows and not thorough:
        said = f"The prompts have {n_tokens} tokens; windows of {', '.join(map(str, windows))} are longer."
        yield not_checked("sliding windows", f"{said} thorough=True looks.")
    n_read = model.config.max_context_length
    if thorough and n_read > N_FAR:
        said = f"The model reads {n_read:,} tokens; positions from {N_FAR:,} on are looked at no further."
        yield not_checked("far positions", said)
    stretched = [n for n in stretched_from(model.config) if n >= n_tokens]
    if stretched and not (thorough and has_reference):
        said = f"The prompts have {n_tokens} tokens; positions after {', '.join(map(str, stretched))} are stretched."
        yield not_checked("stretched contexts", f"{said} thorough=True with a reference looks.")


def _windows(model: Transformer) -> list[int]:
    return sorted({each for each in model.config.sliding_window_by_layer if each is not None})


def long_windows(model: Transformer, probe: Probe, seed: int) -> Iterator[Finding]:
    """Whether tokens attend no farther back than the window, in one layer of each window that a prompt does not reach.

    Args:
        model: the model.
        probe: the usual prompts, which have shown the shorter windows.
        seed: of the longer prompts.
    """
    name, n = "sliding windows", probe.tokens.shape[1]
    for window in (each for each in _windows(model) if each >= n):
        layer = model.config.sliding_window_by_layer.index(window)
        n_tokens = window + BEYOND
        why_not = why_not_run(model, n_tokens)
        if why_not is not None:
            yield not_checked(name, f"The window of {window:,} tokens of layer {layer}: {why_not}.")
            continue
        one = random_probe(model, n_tokens, seed).alone(0)
        with model.record([(_PLACE, layer)]) as recording, torch.no_grad():
            model(one.tokens, logits_at=None)
        faults = [each for each in attention_rows_of(model, one, recording, [layer]) if each.status == "failed"]
        yield from (failed(name, each.said, each.difference, each.allowed, each.where) for each in faults)
        if not faults:
            yield passed(name, f"In layer {layer}, no token attends farther back than {window:,} tokens.")


def why_not_run(model: Transformer, n_tokens: int, n_logits: int = 0) -> str | None:
    """Why a prompt is not run, with a pattern of a whole layer in memory; None if it can be.

    Args:
        model: the model.
        n_tokens: how long the prompt is.
        n_logits: at how many of its tokens there are logits.
    """
    if n_tokens > model.config.max_context_length:
        return f"the model reads {model.config.max_context_length:,} tokens"
    if n_tokens > MOST_TOKENS:
        return f"prompts of more than {MOST_TOKENS:,} tokens are not run"
    n_numbers, free = n_tokens**2 * model.config.n_heads + n_logits * model.config.vocab_size, free_bytes(model.device)
    needed = n_numbers * 8 * _COPIES
    if free is not None and needed > free:
        return f"a prompt of {n_tokens:,} tokens needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
    return None
