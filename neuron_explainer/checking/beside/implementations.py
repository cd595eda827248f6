"""Every implementation of attention that the reference has: each must give the logits that ours gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.checking.beside.evaluation import chooses_attention, evaluating
from neuron_explainer.checking.beside.theirs import their_logits
from neuron_explainer.checking.comparison import LOGITS_KEY, difference_at, finding_of
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.routers import settled
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.wording import in_a_sentence

_ON_GPU_ALONE = ("flash_attention_2", "flex_attention")
_IMPLEMENTATIONS = ("eager", "sdpa", *_ON_GPU_ALONE)


def implementations(
    config: TransformerConfig, hf_model: Any, logits: Tensor, probe: Probe, allowed: float
) -> Iterator[Finding]:
    """Whether logits are those of each implementation of attention.

    Args:
        config: our model's.
        hf_model: the reference.
        logits: ours, over the prompts.
        probe: the prompts.
        allowed: how far they may be apart.
    """
    if not chooses_attention(hf_model):
        has = hf_model.config._attn_implementation
        yield not_checked("implementations of attention", f"The reference keeps the one that it has ({has}).")
        return
    on_gpu = next(hf_model.parameters()).device.type == "cuda"
    for name in _IMPLEMENTATIONS:
        check = f"attention by {name}"
        if name in _ON_GPU_ALONE and not on_gpu:
            yield not_checked(check, "It needs a GPU.")
            continue
        try:
            with evaluating(hf_model, name):
                theirs = their_logits(hf_model, probe)
        except (ImportError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            yield not_checked(check, f"The reference does not run with it: {in_a_sentence(error)}")
            continue
        if not bool(torch.isfinite(theirs[probe.real.to(theirs.device)]).all()):
            yield not_checked(check, "With it, the reference's logits of a padded prompt are not finite.")
            continue
        apart = settled(difference_at(LOGITS_KEY, logits, theirs, probe.real), config, logits.dtype, probe.real)
        yield finding_of(check, [apart], allowed, "The reference gives the same logits with it.")
