"""Longer prompts, and more of them: what begins beyond the usual ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neuron_explainer.checking.alone.windows import BEYOND, MOST_TOKENS, n_beyond_windows, stretched_from, why_not_run
from neuron_explainer.checking.beside.evaluation import evaluating
from neuron_explainer.checking.beside.padded import batch_beside
from neuron_explainer.checking.beside.theirs import their_logits
from neuron_explainer.checking.comparison import LOGITS_KEY, difference_at, finding_of
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.checking.probes import N_LONG, Probe, depends_on_length, random_probe
from neuron_explainer.checking.routers import router_may_flip, settled
from neuron_explainer.checking.tolerances import allowed_beside
from neuron_explainer.models.layers.token_checks import int64_on_cpu
from neuron_explainer.models.transformer import Transformer


def three_prompts(model: Transformer, seed: int) -> Probe:
    """Three prompts of different lengths, of which the first is longer than the usual ones."""
    n = min(N_LONG, model.config.max_context_length)
    tokens = torch.cat((random_probe(model, n, seed).tokens, random_probe(model, n, seed ^ 1).tokens[:1]))
    lengths = int64_on_cpu([[n], [(2 * n + 2) // 3], [(n + 2) // 3]])
    return Probe(tokens, int64_on_cpu(range(n)) < lengths)


def three_prompts_beside(model: Transformer, hf_model: Any, probe: Probe, allowed: float) -> Iterator[Finding]:
    """Whether a batch of three prompts of different lengths gives what the reference gives for each alone.

    Args:
        model, hf_model: the two models, in the same dtype.
        probe: the prompts.
        allowed: how far logits may be apart.
    """
    name, lengths = "three prompts beside the reference", ", ".join(map(str, probe.lengths))
    if depends_on_length(model):
        yield not_checked(name, "The length of a padded batch changes what its prompts give (longrope).")
        return
    said = f"In a batch, prompts of {lengths} tokens have the reference's logits of each alone."
    yield batch_beside(name, model, hf_model, probe, allowed, said)


def long_prompt_beside(model: Transformer, hf_model: Any, seed: int) -> Iterator[Finding]:
    """Whether the last tokens of a prompt have the reference's logits that is longer than windows and contexts.

    Args:
        model, hf_model: the two models, in the same dtype.
        seed: of the prompt.
    """
    name, n = "long prompts beside the reference", _n_tokens(model)
    if n is None:
        yield not_checked(name, "The model has no window or stretched context that a prompt here can be longer than.")
        return
    why_not = why_not_run(model, n, n_logits=n)  # the reference computes those of all tokens
    if why_not is not None:
        yield not_checked(name, f"It is not run: {why_not}.")
        return
    probe = random_probe(model, n, seed).alone(0)
    # Where routers may flip, one token is too few. Logits of all tokens are needed for that.
    n_last = min(BEYOND, n) if router_may_flip(model.config, model.dtype) else 1
    with torch.no_grad(), evaluating(hf_model):
        found = model(probe.tokens, logits_at="last" if n_last == 1 else "all")
        expected = their_logits(hf_model, probe)[:, -n_last:]
    assert found is not None
    real = probe.real[:, -n_last:]
    apart = difference_at(LOGITS_KEY, found[:, -n_last:], expected, real, first_token=n - n_last)
    said = f"The last of {n:,} tokens, beyond windows or where positions are stretched, has the reference's logits."
    yield finding_of(name, [settled(apart, model.config, model.dtype, real)], allowed_beside(model.dtype), said)


def _n_tokens(model: Transformer) -> int | None:
    """How long a prompt is that is longer than the longest window, and than a context before it was stretched."""
    room = min(MOST_TOKENS, model.config.max_context_length)
    lengths = [each + BEYOND for each in stretched_from(model.config) if each + BEYOND <= room]
    of_windows = n_beyond_windows(model)
    return max([*lengths, *([] if of_windows is None else [of_windows])], default=None)
