"""The rows of an objective: the positions at which its direction is not zero, and tensors at these positions.

Everything that is written to the residual stream at other positions has no direct effect. So direct effects are
computed and kept for these rows alone; mostly there is one, the prompt's last token.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor


@dataclass(frozen=True)
class Rows:
    """The rows of each prompt, and the direction at each.

    Attributes:
        positions: the rows' positions.
        directions: what a write is projected on, in float32 or wider; zero where rows are padding.
    """

    positions: Int[Tensor, "batch rows"]
    directions: Float[Tensor, "batch rows d_model"]

    def of(self, tensor: Float[Tensor, "batch tokens *rest"]) -> Float[Tensor, "batch rows *rest"]:
        """A tensor at the rows, in float32 or wider."""
        return at_least_float32(self.as_it_is(tensor))

    def as_it_is(self, tensor: Float[Tensor, "batch tokens *rest"]) -> Float[Tensor, "batch rows *rest"]:
        """A tensor at the rows, in its own dtype."""
        prompts = torch.arange(len(self.positions), dtype=torch.int64, device=self.positions.device)
        return tensor[prompts[:, None], self.positions]

    def of_neurons(self, neurons: Neurons) -> Neurons:
        """A layer's neurons at the rows, in float32 or wider; of a mixture of experts, those of the chosen experts."""
        if not isinstance(neurons, RoutedTensor):
            return self.of(neurons)
        experts = self.as_it_is(neurons.experts)
        return replace(neurons, values=self.of(neurons.values), experts=experts, complete=None)


@dataclass(frozen=True)
class RowsOfObjective(Need):
    """The rows, as the pass found them."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """Nothing: the pass itself evaluates the objective."""
        return iter(())

    def value(self, evaluation: Evaluation, layer: int | None) -> Rows:
        """The rows."""
        objective = evaluation.objective
        if objective is None or objective.rows is None or objective.directions is None:
            raise RuntimeError("an objective's rows are needed, but the pass has none")
        return Rows(objective.rows, objective.directions)


ROWS = RowsOfObjective()


def before_post_norm(
    directions: Float[Tensor, "batch rows d_model"], post_norm: PostNorm | None
) -> Float[Tensor, "batch rows d_model"]:
    """The direction whose dot product with a layer's output is that of `directions` with what is added.

    The scale of the norm of the output, if there is one, is held constant.
    """
    if post_norm is None:
        return directions
    return directions * (at_least_float32(post_norm.gain) * at_least_float32(post_norm.inverse_scale))
