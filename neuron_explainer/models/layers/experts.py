"""A mixture of experts: MLPs of which a router chooses a few for each token.

The experts' neurons are the layer's neurons: expert e's neuron n is neuron e * d_expert + n. A neuron's activation has
the router's weight of its expert as a factor. The neurons of experts that a token is not sent to are 0, before and
after the nonlinearity. An intervention on the activation of such a neuron has its effect, and the gradient with respect
to it is what that effect would be.
"""

from collections.abc import Callable, Iterator
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuron_explainer.models.hooks.taps import NO_TAPS, Taps, at_place
from neuron_explainer.models.layers.mlp import MLP
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor
from neuron_explainer.models.layers.unfilled import unfilled
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

Routing = tuple[Int[Tensor, "*axes chosen"], Float[Tensor, "*axes chosen"]]
"""The chosen experts, and the router's weight of each."""


class MixtureOfExperts(nn.Module):
    """The sum, over the experts that the router chose, of its weight times the expert's output."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.n_experts = config.n_experts
        self.n_chosen = config.n_chosen_experts
        self.router_kind = config.router_kind
        self.router_weight = unfilled(config.n_experts, config.d_model)
        self.router_bias = unfilled(config.n_experts) if config.router_bias else None
        self.d_expert = config.d_mlp // config.n_experts
        self.experts = nn.ModuleList(MLP(config, self.d_expert) for _ in range(config.n_experts))
        self.has_output_bias = config.mlp_bias

    def route(self, normed: Float[Tensor, "*axes d_model"]) -> Routing:
        """The experts that each token is sent to, and their weights."""
        logits = nn.functional.linear(normed, self.router_weight, self.router_bias)
        if self.router_kind == "softmax_of_chosen":
            chosen = logits.topk(self.n_chosen, dim=-1)
            return chosen.indices, chosen.values.softmax(-1)
        chosen = at_least_float32(logits).softmax(-1).topk(self.n_chosen, dim=-1)
        weights = chosen.values
        if self.router_kind == "renormalised_softmax":
            weights = weights / weights.sum(-1, keepdim=True)
        return chosen.indices, weights.to(logits.dtype)

    def pre_act(self, normed: Float[Tensor, "*axes d_model"], routing: Routing | None = None) -> RoutedTensor:
        """The pre-activations of the chosen experts' neurons."""
        experts, _ = self.route(normed) if routing is None else routing
        values = self._by_expert(experts, lambda expert, rows: expert.pre_act(rows), normed)
        return RoutedTensor(values, experts, self.n_experts)

    def post_act(
        self,
        normed: Float[Tensor, "*axes d_model"],
        pre_act: RoutedTensor | None = None,
        routing: Routing | None = None,
    ) -> RoutedTensor:
        """The activations of the chosen experts' neurons, the router's weights included."""
        experts, weights = self.route(normed) if routing is None else routing
        gates = self.pre_act(normed, (experts, weights)) if pre_act is None else pre_act
        values = self._by_expert(
            experts, lambda expert, rows, gate: expert.post_act(rows, gate), normed, gates.values.flatten(0, -2)
        )
        return gates.with_values(values * weights.unsqueeze(-1))

    def output(
        self, post_act: Neurons, weights: Float[Tensor, "*axes chosen"] | None = None
    ) -> Float[Tensor, "*axes d_model"]:
        """The output of all neurons together; with the router's weights, also the experts' biases times these."""
        written = self.write(post_act)
        if not self.has_output_bias or weights is None or not isinstance(post_act, RoutedTensor):
            return written
        return written + self._bias_of(post_act.experts, weights)

    def write(self, post_act: Neurons) -> Float[Tensor, "*axes d_model"]:
        """The output of all neurons together, without biases."""
        if isinstance(post_act, RoutedTensor):
            return self._by_expert(
                post_act.experts, lambda expert, _, own: expert.write(own), None, post_act.values.flatten(0, -2)
            ).sum(-2)
        by_expert = post_act.split(self.d_expert, dim=-1)
        written = [expert.write(own) for expert, own in zip(self._mlps, by_expert, strict=True)]
        return torch.stack(written).sum(0)

    def write_of_each(self, post_act: Neurons) -> Neurons:
        """The output of each neuron: one more axis."""
        if not isinstance(post_act, RoutedTensor):
            return post_act.unsqueeze(-1) * self.output_weight.T
        values = self._by_expert(
            post_act.experts, lambda expert, _, own: expert.write_of_each(own), None, post_act.values.flatten(0, -2)
        )
        return post_act.with_values(values)

    def along(self, direction: Float[Tensor, "*axes d_model"], post_act: Neurons | None = None) -> Neurons:
        """Each neuron's output per unit of activation, projected on a direction: all, or those that `post_act` has."""
        if not isinstance(post_act, RoutedTensor):
            return torch.cat([expert.along(direction) for expert in self._mlps], dim=-1)
        values = self._by_expert(post_act.experts, lambda expert, rows: expert.along(rows), direction)
        return post_act.with_values(values)

    def expert(self, number: int) -> MLP:
        """One expert's MLP."""
        return self._mlps[number]

    def gate(self, neuron: int) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""] | None]:
        """The linear map that gives a neuron's pre-activation, if its expert is chosen: its weights, and its bias."""
        expert, within = divmod(neuron, self.d_expert)
        return self._mlps[expert].gate(within)

    @property
    def bias_depends_on_input(self) -> bool:
        """Whether `bias_at` depends on the input."""
        return self.has_output_bias

    def bias_at(self, normed: Float[Tensor, "*axes d_model"] | None = None) -> Float[Tensor, "*axes d_model"] | None:
        """The chosen experts' output biases, times the router's weights; None if experts have none."""
        if not self.has_output_bias or normed is None:
            return None
        return self._bias_of(*self.route(normed))

    def write_direction(self, neuron: int) -> Float[Tensor, " d_model"]:
        """A neuron's output per unit of activation."""
        expert, within = divmod(neuron, self.d_expert)
        return self._mlps[expert].write_direction(within)

    def write_norms(self, gain: Float[Tensor, " d_model"] | None = None) -> Float[Tensor, " neurons"]:
        """The norm of each neuron's output per unit of activation, after a factor of each channel (None: 1)."""
        return torch.cat([expert.write_norms(gain) for expert in self._mlps])

    def readers(self) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """The linear maps that read the normalised residual stream: what they are called here, weight and bias."""
        yield "router", self.router_weight, self.router_bias
        for number, expert in enumerate(self._mlps):
            for name, weight, bias in expert.readers():
                yield f"experts.{number}.{name}", weight, bias

    @property
    def input_weight(self) -> Float[Tensor, "neurons d_model"]:
        """The gates' weights of all experts, copied into one matrix."""
        return torch.cat([expert.input_weight for expert in self._mlps])

    @property
    def up_weight(self) -> Float[Tensor, "neurons d_model"]:
        """The up weights of all experts, copied into one matrix."""
        return torch.cat([expert.up_weight for expert in self._mlps if expert.up_weight is not None])

    @property
    def output_weight(self) -> Float[Tensor, "d_model neurons"]:
        """The output weights of all experts, copied into one matrix."""
        return torch.cat([expert.output_weight for expert in self._mlps], dim=1)

    def forward(self, normed: Float[Tensor, "*axes d_model"], taps: Taps = NO_TAPS) -> Float[Tensor, "*axes d_model"]:
        """The output of the experts, from the normalised residual stream; pre- and post-activations are tapped."""
        routing = self.route(normed)
        plain = self.pre_act(normed, routing)
        # What an intervention does to the pre-activation of a neuron whose expert was not chosen has the weight 0.
        pre_act = plain.with_values(plain.of(at_place(taps, ActivationLocationType.MLP_PRE_ACT, plain)))
        post_act = at_place(taps, ActivationLocationType.MLP_POST_ACT, self.post_act(normed, pre_act, routing))
        if isinstance(post_act, RoutedTensor):
            output = self.output(post_act, routing[1])
            tap = taps.get(ActivationLocationType.MLP_POST_ACT)
            if tap is not None and tap.needs_gradient:
                tap.note_output(output, self.along)
            return output
        chosen = plain.gathered(post_act)
        elsewhere = post_act - chosen.dense()
        output = self.output(chosen, routing[1])
        # The other neurons' activations have gradients even where they are 0.
        return output + self.write(elsewhere) if elsewhere.requires_grad or bool(elsewhere.any()) else output

    def _bias_of(self, experts: Tensor, weights: Tensor) -> Float[Tensor, "*axes d_model"]:
        return (weights.unsqueeze(-1) * self._output_biases()[experts]).sum(-2)

    def _output_biases(self) -> Float[Tensor, "experts d_model"]:
        return torch.stack([expert.output_bias for expert in self._mlps if expert.output_bias is not None])

    @property
    def _mlps(self) -> list[MLP]:
        return cast("list[MLP]", list(self.experts))

    def _by_expert(
        self,
        experts: Int[Tensor, "*axes chosen"],
        function: Callable[..., Tensor],
        tokens: Float[Tensor, "*axes width"] | None,
        *of_each: Float[Tensor, "slots ..."],
    ) -> Float[Tensor, "..."]:
        """A function of each chosen expert and its rows, which are gathered so that each expert is run once.

        Args:
            experts: the chosen experts.
            function: takes an expert, its tokens' rows (None without `tokens`), and its rows of each tensor in
                `of_each`.
            tokens: a row for each token.
            of_each: a row for each chosen expert of each token, all tokens in turn.
        """
        n_chosen = experts.shape[-1]
        order = experts.flatten().argsort(stable=True)
        counts = torch.bincount(experts.flatten(), minlength=self.n_experts).tolist()
        rows = None if tokens is None else tokens.flatten(0, -2)[order // max(n_chosen, 1)]
        own_rows = [None] * self.n_experts if rows is None else rows.split(counts)
        others = [tensor[order].split(counts) for tensor in of_each]
        results = [
            function(expert, own_rows[number], *(other[number] for other in others))
            for number, expert in enumerate(self._mlps)
            if counts[number]
        ]
        place_of = torch.empty_like(order)
        place_of[order] = torch.arange(len(order), dtype=order.dtype, device=order.device)
        joined = torch.cat(results)[place_of]
        return joined.reshape(*experts.shape, *joined.shape[1:])
