"""Whether a config that is near the model's fits the weights better, by how well texts are predicted.

A wrong rotary base or a scale that is left out raises no error, and a model alone cannot tell it from a right one. But
weights were trained with one config, and with another they predict texts worse. So a neighbour that predicts the
embedded texts clearly better speaks against the config. It says nothing of a model that predicts no text, such as one
with random weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.reference_texts import sample_texts
from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig

_N_TEXTS, _N_TOKENS = 4, 64
_LEAST_GAIN = 0.05
"""By how many nats a token a neighbour must be better. Options that hardly matter, as caps that are seldom reached, are
within a few thousandths."""
_KNOWS_TEXT_BELOW = 0.9
"""A model predicts texts if its loss, with one of the configs, is below this share of that of guessing: of knowing how
often each token of these texts occurs, which is already much."""
_LEAST_DIFFERENT = 32
"""With fewer different tokens there is little to predict: a tokenizer of another model makes most words unknown."""


def nearby_configs(context: StandardModelContext | None) -> Iterator[Finding]:
    """Whether the config predicts texts at least as well as those near it.

    Args:
        context: the model with its tokenizer; None if there is a `Transformer` alone.
    """
    name = "nearby configs"
    if context is None or not context.has_tokenizer:
        yield not_checked(name, "The model has no tokenizer to read texts with.")
        return
    model = context.get_or_create_model()
    if model.is_offloaded:
        yield not_checked(name, "The weights stay on the disk (offload).")
        return
    room = min(_N_TOKENS, model.config.max_context_length)
    texts = [context.to_tokens(text)[:, :room] for text in sample_texts()[:: max(1, len(sample_texts()) // _N_TEXTS)]]
    counts = torch.cat([each[0, 1:] for each in texts]).unique(return_counts=True)[1].double()
    if len(counts) < _LEAST_DIFFERENT:
        yield not_checked(name, f"The embedded texts have {len(counts)} different tokens, too few to predict.")
        return
    own, found = _loss(model, texts), dict[str, float]()
    for what, changes in _neighbours(model.config):
        found[what] = _loss(with_config(model, **changes), texts)
    best = min(found, key=lambda each: found[each])
    guess = float(torch.distributions.Categorical(probs=counts).entropy())
    if not min(own, found[best]) < _KNOWS_TEXT_BELOW * guess:
        yield not_checked(name, f"With none of {len(found) + 1} configs does the model predict the embedded texts.")
    elif found[best] < own - _LEAST_GAIN:
        said = f"{best}, the model predicts texts better: {found[best]:.2f} against {own:.2f} nats a token."
        yield failed(name, f"With {said} Is the config right?")
    else:
        yield passed(
            name,
            f"With none of {len(found)} other configs does the model predict texts better ({own:.2f} nats a token).",
        )


def with_config(model: Transformer, **changes: Any) -> Transformer:
    """A model with another config and the same weights; what only the new config has stays without numbers.

    Args:
        model: the model, which is not changed.
        changes: fields of its config.
    """
    other = Transformer(replace(model.config, **changes))
    wanted = {name for name, _ in other.named_parameters()}
    for name, weight in model.named_parameters():
        if name in wanted:
            fill(other, name, weight)
    return other


def _neighbours(config: TransformerConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Configs that others take for a model's, and that have weights of the same shapes."""
    if any(config.rotary_by_layer):
        yield (
            "the other pairs of rotated channels",
            _rotary(config, lambda each: {"is_interleaved": not each.is_interleaved}),
        )
        for factor in (0.02, 0.1, 10.0, 50.0):
            yield f"a rotary base {factor:g} times as large", _rotary(config, _times_base(factor))
        if any(each is not None and each.scaling for each in config.rotary_by_layer):
            yield "no scaling of rotations", _rotary(config, lambda each: {"scaling": None, "attention_factor": 1.0})
    yield "another offset of gains", {"norm_gain_offset": 0.0 if config.norm_gain_offset else 1.0}
    for activation in ("gelu_new", "silu", "relu"):
        if activation != config.activation_function:
            yield f"{activation} as activation function", {"activation_function": activation}
    if not config.shared_norm:
        yield "attention and MLP in the other order", {"parallel_residual": not config.parallel_residual}
    for scale in (1.0, config.d_head**-0.5, 1 / config.d_head):
        if not math.isclose(scale, config.attention_scale_by_layer[0]):
            yield f"attention scaled by {scale:.3g}", {"attention_scale_by_layer": (scale,) * config.n_layers}
    for scale in (1.0, config.d_model**0.5):
        if not math.isclose(scale, config.embedding_scale, rel_tol=1e-3):
            yield f"an embedding scaled by {scale:.3g}", {"embedding_scale": scale}
    for what in ("residual_multiplier", "logits_scale"):
        if getattr(config, what) != 1:
            yield f"{what} 1", {what: 1.0}
    for what in ("attention_softcap", "logits_softcap"):
        if getattr(config, what) is not None:
            yield f"no {what}", {what: None}
    if config.n_experts:
        for kind in ("softmax", "renormalised_softmax"):
            if kind != config.router_kind:
                yield f"a router by {kind}", {"router_kind": kind}


def _times_base(factor: float) -> Callable[[RotaryConfig], dict[str, Any]]:
    return lambda each: {"base": each.base * factor}


def _rotary(config: TransformerConfig, changes: Callable[[RotaryConfig], dict[str, Any]]) -> dict[str, Any]:
    several = tuple(None if each is None else replace(each, **changes(each)) for each in config.rotary_by_layer)
    return {"rotary": None, "rotary_by_layer": several}


def _loss(model: Transformer, texts: list[Tensor]) -> float:
    """The mean loss of the next token, in nats; infinite where it is not a number."""
    total, n = 0.0, 0
    with torch.no_grad():
        for tokens in texts:
            logits = model(tokens)
            assert logits is not None
            following = logits[0, :-1].double().log_softmax(-1)
            total -= float(following.gather(-1, tokens[0, 1:, None].to(following.device)).sum())
            n += tokens.shape[1] - 1
    return total / n if n and math.isfinite(total) else math.inf
