"""Faults of a mixture of experts, planted by patching the code that runs it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from checking.code_mutants import Patched
from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.models.layers.routed import RoutedTensor
from neuron_explainer.models.transformer import Transformer


def weights_left_out(model: Transformer, patched: Patched) -> None:
    """Activations of experts lack the router's weights."""
    made = MixtureOfExperts.post_act

    def post_act(self: MixtureOfExperts, normed: Tensor, pre_act: Any = None, routing: Any = None) -> RoutedTensor:
        experts, weights = self.route(normed) if routing is None else routing
        return made(self, normed, pre_act, (experts, torch.ones_like(weights)))

    patched(MixtureOfExperts, "post_act", post_act)


def biases_unweighted(model: Transformer, patched: Patched) -> None:
    """The experts' output biases lack the router's weights."""
    biased = MixtureOfExperts._bias_of

    def bias_of(self: MixtureOfExperts, experts: Tensor, weights: Tensor) -> Tensor:
        return biased(self, experts, torch.ones_like(weights))

    patched(MixtureOfExperts, "_bias_of", bias_of)


def lowest_chosen(model: Transformer, patched: Patched) -> None:
    """Tokens are sent to the experts with the lowest scores, with the weights of the highest."""
    routed = MixtureOfExperts.route

    def route(self: MixtureOfExperts, normed: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.nn.functional.linear(normed, self.router_weight, self.router_bias)
        return scores.topk(self.n_chosen, dim=-1, largest=False).indices, routed(self, normed)[1]

    patched(MixtureOfExperts, "route", route)


def mixed_up(model: Transformer, patched: Patched) -> None:
    """The chosen experts' pre-activations of a token are in the order of another choice."""
    made = MixtureOfExperts.pre_act

    def pre_act(self: MixtureOfExperts, normed: Tensor, routing: Any = None) -> RoutedTensor:
        right = made(self, normed, routing)
        return right.with_values(right.values.flip(-2))

    patched(MixtureOfExperts, "pre_act", pre_act)
