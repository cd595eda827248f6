"""A padded batch here, beside the reference's passes over each prompt alone."""

from __future__ import annotations

from typing import Any

import torch

from neuron_explainer.checking.beside.evaluation import evaluating
from neuron_explainer.checking.beside.theirs import their_logits
from neuron_explainer.checking.comparison import LOGITS_KEY, difference_at, finding_of
from neuron_explainer.checking.findings import Finding
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.routers import settled
from neuron_explainer.models.transformer import Transformer


def batch_beside(check: str, model: Transformer, hf_model: Any, probe: Probe, allowed: float, agrees: str) -> Finding:
    """Whether a batch gives the logits that the reference gives for each of its prompts alone.

    Args:
        check: what the finding is called.
        model, hf_model: the two models, in the same dtype.
        probe: the prompts.
        allowed: how far logits may be apart.
        agrees: what is said where all agree.
    """
    with torch.no_grad():
        padded = model(probe.tokens, attention_mask=probe.real)
    assert padded is not None
    several = []
    for prompt, n in enumerate(probe.lengths):
        alone = probe.alone(prompt)
        with evaluating(hf_model):
            expected = their_logits(hf_model, alone)
        apart = difference_at(LOGITS_KEY, padded[prompt : prompt + 1, :n], expected, alone.real)
        several.append(settled(apart.of_prompt(prompt), model.config, model.dtype, alone.real))
    return finding_of(check, several, allowed, agrees)
