"""The neurons of a mixture of experts in a `transformers` model, which keeps them inside of one function.

They are computed from what is observed of the router and from the reference's own weights, for all experts.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.models.layers.mlp import MLP
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


def neurons_of_experts(
    config: TransformerConfig,
    read: Float[Tensor, "batch tokens d_model"],
    router_output: Any,
    weight_of: Callable[[str], Tensor],
) -> dict[ActivationLocationType, Tensor]:
    """MLP_PRE_ACT and MLP_POST_ACT.

    Args:
        config: the model's.
        read: what the router and the experts read.
        router_output: what the reference's router gives: from `transformers` 5 on, logits, weights and experts.
        weight_of: the reference's weight for one of our parameters, named as within `mlp.`.
    """
    if isinstance(router_output, tuple) and len(router_output) == 3:
        _, weights, experts = router_output
    else:
        experts, weights = _our_router(config, weight_of).route(read)
    chosen = torch.zeros(*read.shape[:2], config.n_experts, dtype=read.dtype, device=read.device)
    chosen.scatter_(-1, experts.view(*read.shape[:2], -1), weights.view(*read.shape[:2], -1).to(read.dtype))
    pre_acts, post_acts = [], []
    for number in range(config.n_experts):
        expert = MLP(config, config.d_mlp // config.n_experts)
        for name, _ in list(expert.named_parameters()):
            fill(expert, name, weight_of(f"experts.{number}.{name}"))
        weight = chosen[..., number, None]
        gate = expert.pre_act(read)
        pre_acts.append(gate * (weight != 0))
        post_acts.append(expert.post_act(read, gate) * weight)
    return {_PLACE.MLP_PRE_ACT: torch.cat(pre_acts, dim=-1), _PLACE.MLP_POST_ACT: torch.cat(post_acts, dim=-1)}


def _our_router(config: TransformerConfig, weight_of: Callable[[str], Tensor]) -> MixtureOfExperts:
    mixture = MixtureOfExperts(config)
    for name in ("router_weight", "router_bias"):
        if getattr(mixture, name) is not None:
            fill(mixture, name, weight_of(name))
    return mixture
