"""The places of an MLP by plain formulas, also of a mixture of experts: one after the other, over its tokens alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

_P = ActivationLocationType
_SQRT_2 = math.sqrt(2)

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": lambda x: x * (1 + torch.erf(x / _SQRT_2)) / 2,
    **dict.fromkeys(
        ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
        lambda x: x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    "relu": lambda x: x * (x > 0),
    **dict.fromkeys(("silu", "swish"), lambda x: x * torch.sigmoid(x)),
}
_LEAST_MARGIN, _ROUNDINGS = 1e-5, 4
"""How far the last chosen score is above the next, as a share of the largest, for a router's choice to be certain."""

_LEAST_EXPONENT = math.log(torch.finfo(torch.float32).tiny)

Weights = Mapping[str, Tensor]
AtPlaces = Mapping[ActivationLocationType, Tensor]


def linear(weights: Weights, name: str, read: Float[Tensor, "*axes read"]) -> Float[Tensor, "*axes written"]:
    """A linear map of the layer, with its bias if it has one."""
    return functional.linear(read, weights[f"{name}_weight"], weights.get(f"{name}_bias"))


def expected_of_mlp(config: TransformerConfig, weights: Weights, at: AtPlaces) -> dict[ActivationLocationType, Tensor]:
    """Pre-activations, activations, and what is written (before a norm of it), each from what was recorded before.

    Args:
        config: the model's, without experts.
        weights: the layer's.
        at: what was recorded in the layer.
    """
    normed = at[_P.RESID_POST_ATTN_LAYER_NORM]
    return {
        _P.MLP_PRE_ACT: linear(weights, "mlp.input", normed),
        _P.MLP_POST_ACT: _post_act(config, weights, "mlp", normed, at[_P.MLP_PRE_ACT]),
        _P.RESID_DELTA_MLP: linear(weights, "mlp.output", at[_P.MLP_POST_ACT]),
    }


def expected_of_experts(
    config: TransformerConfig, weights: Weights, at: AtPlaces
) -> dict[ActivationLocationType, Tensor]:
    """As `expected_of_mlp`, of a mixture of experts.

    Args:
        config: the model's.
        weights: the layer's.
        at: what was recorded in the layer.
    """
    normed, pre_act, post_act = (at[each] for each in (_P.RESID_POST_ATTN_LAYER_NORM, _P.MLP_PRE_ACT, _P.MLP_POST_ACT))
    chosen, shares = _chosen(config, _scores(weights, normed))
    made_pre, made_post, written = (torch.zeros_like(each) for each in (pre_act, post_act, normed))
    size = config.d_mlp // config.n_experts
    for number in range(config.n_experts):
        name, neurons = f"mlp.experts.{number}", slice(number * size, (number + 1) * size)
        is_its = chosen == number
        rows = is_its.any(-1)
        read, gate, share = normed[rows], pre_act[rows][:, neurons], (shares * is_its).sum(-1)[rows][:, None]
        made_pre[rows, neurons] = linear(weights, f"{name}.input", read)
        made_post[rows, neurons] = _post_act(config, weights, name, read, gate) * share
        own = functional.linear(post_act[rows][:, neurons], weights[f"{name}.output_weight"])
        bias = weights.get(f"{name}.output_bias")
        written[rows] += own if bias is None else own + bias * share
    return {_P.MLP_PRE_ACT: made_pre, _P.MLP_POST_ACT: made_post, _P.RESID_DELTA_MLP: written}


def has_certain_experts(
    config: TransformerConfig, weights: Weights, normed: Float[Tensor, "batch tokens d_model"], dtype: torch.dtype
) -> Bool[Tensor, "batch tokens"]:
    """At which tokens the router's choice does not depend on rounding.

    Args:
        config: the model's.
        weights: the layer's.
        normed: what the router reads.
        dtype: that of the pass.
    """
    scores = _scores(weights, normed).sort(-1, descending=True).values
    if config.n_chosen_experts == config.n_experts:
        return torch.ones(scores.shape[:-1], dtype=torch.bool, device=scores.device)
    last, following = scores[..., config.n_chosen_experts - 1], scores[..., config.n_chosen_experts]
    is_certain = last - following > max(_LEAST_MARGIN, _ROUNDINGS * torch.finfo(dtype).eps) * scores.abs().amax(-1)
    if config.router_kind == "softmax_of_chosen":
        return is_certain
    return is_certain & (last - scores[..., 0] > _LEAST_EXPONENT)  # shares that are rounded to 0 are equal


def _scores(weights: Weights, normed: Tensor) -> Float[Tensor, "batch tokens experts"]:
    return linear(weights, "mlp.router", normed)


def _chosen(
    config: TransformerConfig, scores: Float[Tensor, "batch tokens experts"]
) -> tuple[Int[Tensor, "batch tokens chosen"], Float[Tensor, "batch tokens chosen"]]:
    """The experts with the highest scores, and the share of each."""
    chosen = scores.argsort(-1, descending=True)[..., : config.n_chosen_experts]
    exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
    own = exponentials.gather(-1, chosen)
    # A softmax of the chosen scores is one of all scores, made to sum to 1 over the chosen.
    whole = exponentials if config.router_kind == "softmax" else own
    return chosen, own / whole.sum(-1, keepdim=True)


def _post_act(config: TransformerConfig, weights: Weights, mlp: str, normed: Tensor, pre_act: Tensor) -> Tensor:
    gate = pre_act if config.gate_limit is None else pre_act.clamp(max=config.gate_limit)
    activated = _ACTIVATIONS[config.activation_function](gate * config.activation_gain) / config.activation_gain
    if not config.gated_mlp:
        return activated
    up = linear(weights, f"{mlp}.up", normed)
    if config.gate_limit is not None:
        up = up.clamp(-config.gate_limit, config.gate_limit)
    return activated * (up + config.up_offset)
