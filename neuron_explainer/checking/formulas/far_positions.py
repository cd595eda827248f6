"""Positions that are far from the beginning: one layer of each kind, over a long prompt, by plain formulas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from neuron_explainer.checking.alone.windows import N_FAR, why_not_run
from neuron_explainer.checking.comparison import OF_LAYER
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.checking.formulas.recomputed import recomputed
from neuron_explainer.checking.probes import random_probe
from neuron_explainer.models.layers.block import residual_before
from neuron_explainer.models.transformer import Transformer


def far_positions(model: Transformer, n_looked_at: int, seed: int) -> Iterator[Finding]:
    """Whether a layer of each kind gives what its formulas say in a prompt of up to 2,048 tokens.

    Args:
        model: the model.
        n_looked_at: how long the prompts are in which all layers were looked at.
        seed: of the prompt.
    """
    n = min(N_FAR, model.config.max_context_length)
    if n <= n_looked_at:
        return
    config = model.config
    kinds = zip(config.rotary_by_layer, config.sliding_window_by_layer, strict=True)
    layers = sorted({kind: layer for layer, kind in reversed(list(enumerate(kinds)))}.values())
    name, why_not = f"formulas, {n:,} tokens", why_not_run(model, n)
    if why_not is not None or model.is_offloaded:
        yield not_checked(name, f"They are not looked at: {why_not or 'the weights stay on the disk (offload)'}.")
        return
    one = random_probe(model, n, seed).alone(0)
    for layer in layers:
        recording = model.recording([*((place, layer) for place in OF_LAYER), residual_before(layer)])
        with torch.no_grad():
            model(one.tokens, logits_at=None, hooks=[recording])
        for each in recomputed(model, one, recording, only=[layer]):
            yield replace(each, check=name)
