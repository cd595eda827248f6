"""Direct effects of one layer's MLP: of each neuron, and of the output's biases."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.needs import BLOCK
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Deriver, Evaluation, Need, Recorded
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation
from neuron_explainer.attribution.computing.attention_parts import bias_effect
from neuron_explainer.attribution.computing.replaced import Replaced, ReplacedAt, WhereReplaced
from neuron_explainer.attribution.computing.rows import ROWS, Rows, before_post_norm
from neuron_explainer.attribution.computing.standing import neurons_stand
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.routed import Neurons, product, values_of
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


@dataclass(frozen=True)
class MlpParts:
    """Direct effects at the rows of one layer's MLP.

    Attributes:
        neurons: of each neuron, (batch, rows, neurons).
        layer_as_set: of the layer's write, where an ablation has set it as a whole.
        bias: of the output's bias and of the bias of the norm after it.
    """

    neurons: Neurons
    layer_as_set: Float[Tensor, "batch rows"]
    bias: Float[Tensor, "batch rows"]


@dataclass(frozen=True)
class OutputBias(Need):
    """What a layer's MLP adds beside its neurons' writes: its bias; of a mixture of experts, the chosen biases."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The residual stream that the router reads, where the biases depend on it."""
        if bound.block(layer).mlp.bias_depends_on_input:
            yield Recorded(*bound.block(layer).mlp_reads_from)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor | None:
        """(d_model), or (batch, tokens, d_model) where it depends on the input; None without a bias."""
        block = evaluation.bound.block(layer)
        recordings = list(self.recordings(evaluation.bound, layer))
        bias: Tensor | None = block.mlp.bias_at(
            block.mlp_input(evaluation.recorded(recordings[0])) if recordings else None
        )
        return bias


def mlp_parts(
    rows: Rows,
    post_act: Neurons,
    delta: Tensor | None,
    bias: Tensor | None,
    layer_replaced: Replaced,
    block: Block,
) -> MlpParts:
    """Every neuron's direct effect at the rows."""
    own = rows.of_neurons(post_act)
    post_norm = block.mlp_post_norm_at(values_in(block, own))
    directions = before_post_norm(rows.directions, post_norm)
    neurons = product(own, block.mlp.along(directions, own))
    of_bias = bias if bias is None or bias.ndim == 1 else rows.of(bias)
    effect = bias_effect(rows.directions, directions, of_bias, block.mlp_post_norm, block)
    is_set = layer_replaced.at(rows.positions)
    values_of(neurons).masked_fill_(is_set.reshape(*is_set.shape, *[1] * (values_of(neurons).ndim - 2)), 0)
    layer_as_set = torch.zeros_like(effect) if delta is None else (rows.of(delta) * rows.directions).sum(-1)
    return MlpParts(neurons, layer_as_set.masked_fill(~is_set, 0), effect.masked_fill(is_set, 0))


def values_in(block: Block, neurons: Neurons) -> Neurons:
    """Neurons in the dtype of the layer's weights."""
    dtype = block.attention.output_weight.dtype
    return neurons.to(dtype) if isinstance(neurons, torch.Tensor) else neurons.with_values(neurons.values.to(dtype))


MLP_PARTS = Deriver(
    mlp_parts,
    {
        "rows": ROWS,
        "post_act": Activation(_PLACE.MLP_POST_ACT),
        "delta": WhereReplaced(_PLACE.RESID_DELTA_MLP),
        "bias": OutputBias(),
        "layer_replaced": ReplacedAt(_PLACE.RESID_DELTA_MLP),
        "block": BLOCK,
    },
    neurons_stand,
)
