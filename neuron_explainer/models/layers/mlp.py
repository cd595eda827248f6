"""The MLP: neurons that read the normalised residual stream and write to the residual stream."""

from collections.abc import Callable, Iterator
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from neuron_explainer.errors import UnknownNameError
from neuron_explainer.models.hooks.taps import NO_TAPS, Taps, at_place
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.layers.routed import Neurons, dense
from neuron_explainer.models.layers.unfilled import unfilled
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

_tanh_gelu = partial(nn.functional.gelu, approximate="tanh")

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "gelu_new": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "swish": nn.functional.silu,
}
"""The activation functions, by their names in Hugging Face configs."""


class MLP(nn.Module):
    """act(input) @ W_out, or if gated, (act(gate) * up) @ W_out. The pre-activation is the input, or the gate."""

    def __init__(self, config: TransformerConfig, n_neurons: int | None = None) -> None:
        super().__init__()
        if config.activation_function not in ACTIVATION_FUNCTIONS:
            raise UnknownNameError("activation function", config.activation_function, ACTIVATION_FUNCTIONS)
        self.activation_function = ACTIVATION_FUNCTIONS[config.activation_function]
        self.activation_gain = config.activation_gain
        self.gate_limit = config.gate_limit
        self.up_offset = config.up_offset
        neurons, model = n_neurons or config.d_mlp, config.d_model
        has_bias = config.mlp_bias
        self.input_weight = unfilled(neurons, model)
        self.input_bias = unfilled(neurons) if has_bias else None
        self.up_weight = unfilled(neurons, model) if config.gated_mlp else None
        self.up_bias = unfilled(neurons) if config.gated_mlp and has_bias else None
        self.output_weight = unfilled(model, neurons)
        self.output_bias = unfilled(model) if has_bias else None

    def pre_act(self, normed: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes neurons"]:
        """Each neuron's pre-activation."""
        return nn.functional.linear(normed, self.input_weight, self.input_bias)

    def post_act(
        self, normed: Float[Tensor, "*axes d_model"], pre_act: Float[Tensor, "*axes neurons"] | None = None
    ) -> Float[Tensor, "*axes neurons"]:
        """Each neuron's activation; `pre_act` is recomputed unless given."""
        gate = self.pre_act(normed) if pre_act is None else pre_act
        if self.gate_limit is not None:
            gate = gate.clamp(max=self.gate_limit)
        if self.activation_gain == 1:
            activated = self.activation_function(gate)
        else:
            activated = self.activation_function(gate * self.activation_gain) / self.activation_gain
        if self.up_weight is None:
            return activated
        up = nn.functional.linear(normed, self.up_weight, self.up_bias)
        if self.gate_limit is not None:
            up = up.clamp(-self.gate_limit, self.gate_limit)
        return activated * (up + self.up_offset if self.up_offset else up)

    def output(self, post_act: Neurons) -> Float[Tensor, "*axes d_model"]:
        """The output of all neurons together, bias included."""
        return nn.functional.linear(dense(post_act), self.output_weight, self.output_bias)

    def write(self, post_act: Neurons) -> Float[Tensor, "*axes d_model"]:
        """The output of all neurons together, without the bias."""
        return nn.functional.linear(dense(post_act), self.output_weight)

    def write_of_each(self, post_act: Neurons) -> Float[Tensor, "*axes neurons d_model"]:
        """The output of each neuron."""
        return dense(post_act).unsqueeze(-1) * self.output_weight.T

    def along(
        self, direction: Float[Tensor, "*axes d_model"], post_act: Neurons | None = None
    ) -> Float[Tensor, "*axes neurons"]:
        """Each neuron's output per unit of activation, projected on a direction."""
        return direction @ self.output_weight.to(direction.dtype)

    def gate(self, neuron: int) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""] | None]:
        """The linear map that gives a neuron's pre-activation: its weights, and its bias."""
        bias = self.input_bias
        return self.input_weight[neuron], None if bias is None else bias[neuron]

    bias_depends_on_input = False
    """Whether `bias_at` depends on the input: that of chosen experts does."""

    def bias_at(self, normed: Float[Tensor, "*axes d_model"] | None = None) -> Float[Tensor, " d_model"] | None:
        """What is added to the output beside the neurons' writes; None if nothing is."""
        return self.output_bias

    def write_direction(self, neuron: int) -> Float[Tensor, " d_model"]:
        """A neuron's output per unit of activation."""
        return self.output_weight[:, neuron]

    def write_norms(self, gain: Float[Tensor, " d_model"] | None = None) -> Float[Tensor, " neurons"]:
        """The norm of each neuron's output per unit of activation, after a factor of each channel (None: 1)."""
        precise = at_least_float32(self.output_weight)
        if gain is not None:
            precise = precise * gain[:, None]
        # The same as precise.norm(dim=0), which takes five times as long because the neurons are the last axis.
        return precise.square().sum(dim=0).sqrt()

    def readers(self) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """The linear maps that read the normalised residual stream: what they are called here, weight and bias."""
        yield "input", self.input_weight, self.input_bias
        if self.up_weight is not None:
            yield "up", self.up_weight, self.up_bias

    def forward(self, normed: Float[Tensor, "*axes d_model"], taps: Taps = NO_TAPS) -> Float[Tensor, "*axes d_model"]:
        """The output of the MLP, from the normalised residual stream; pre- and post-activations are tapped."""
        pre_act = at_place(taps, ActivationLocationType.MLP_PRE_ACT, self.pre_act(normed))
        post_act = at_place(taps, ActivationLocationType.MLP_POST_ACT, self.post_act(normed, pre_act))
        return self.output(post_act)
