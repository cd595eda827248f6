"""Norms alone, beside the reference's, over small numbers: there an epsilon shows that is lost among large ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neuron_explainer.checking.comparison import difference_at
from neuron_explainer.checking.findings import Finding, Where, failed, not_checked, passed
from neuron_explainer.checking.probes import random_normal
from neuron_explainer.models.layers.norms import Norm
from neuron_explainer.models.parity.reference import ObservedModules
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.wording import in_a_sentence

_PLACE = ActivationLocationType
_SIZES = (1.0, 1e-2, 1e-4)
_AFTER = {
    "attention_norm": _PLACE.RESID_POST_MLP_LAYER_NORM,
    "mlp_norm": _PLACE.RESID_POST_ATTN_LAYER_NORM,
    "attention_post_norm": _PLACE.RESID_DELTA_ATTN,
    "mlp_post_norm": _PLACE.RESID_DELTA_MLP,
    "final_norm": _PLACE.RESID_POST_FINAL_LAYER_NORM,
}


def norms_beside(model: Transformer, hf_model: Any, allowed: float) -> Iterator[Finding]:
    """Whether each norm of the residual stream, alone, gives what the reference's gives.

    Args:
        model: the model.
        hf_model: the reference.
        allowed: how far they may be apart.
    """
    name = "norms alone"
    observed, n, largest = ObservedModules(hf_model), 0, 0.0
    chance = random_normal((1, 4, model.config.d_model), 3)
    device = next(hf_model.parameters()).device
    with torch.no_grad():
        for ours, place, layer, path in _norms(model, observed):
            for size in _SIZES:
                given = (chance * size).to(dtype=model.dtype, device=device)
                try:
                    theirs = hf_model.get_submodule(path)(given)
                except (TypeError, AttributeError) as error:
                    yield not_checked(name, f"{path} cannot be called alone: {in_a_sentence(error)}")
                    return
                found = ours(given.to(model.device))
                real = torch.ones((1, 4), dtype=torch.bool, device="cpu")
                apart = difference_at((place, layer), found, theirs, real).relative
                largest, n = max(largest, apart), n + 1
                if not apart <= allowed:
                    where = Where(place, layer)
                    said = (
                        f"The norm at {where} differs for numbers of about {size:g}. Is its epsilon {ours.epsilon:g}?"
                    )
                    yield failed(name, said, apart, allowed, where)
                    return
    yield passed(
        name, f"{n} norms give what those of the reference give, also for very small numbers.", largest, allowed
    )


def _norms(model: Transformer, observed: ObservedModules) -> Iterator[tuple[Norm, ActivationLocationType, Any, str]]:
    for block in model.blocks:
        for name in ("attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm"):
            norm = getattr(block, name)
            if (
                isinstance(norm, Norm)
                and norm.gain is not None
                and (name != "mlp_norm" or norm is not block.attention_norm)
            ):
                yield norm, _AFTER[name], block.layer, observed.path_of(f"blocks.{block.layer}.{name}.gain")
    yield model.final_norm, _AFTER["final_norm"], None, observed.path_of("final_norm.gain")
