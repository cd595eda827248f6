"""The gradient of the traced activation at the residual stream just before it, without the model's backward pass."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.activations.derived_scalars.engine.traces import gradient_of_trace, residuals_needed


@dataclass(frozen=True)
class LocalResidualGradient(Need):
    """The gradient of the traced activation, recomputed from the recorded residual stream just before it."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The residual stream that the activation is recomputed from."""
        for place in residuals_needed(bound, bound.trace):
            yield Recorded(*place)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens d_model"]:
        """The gradient, computed once."""
        if evaluation.trace_gradient is not None:
            return evaluation.trace_gradient
        gradient: Tensor = evaluation.once(self, None, lambda: self._computed(evaluation))
        return gradient

    def _computed(self, evaluation: Evaluation) -> Tensor:
        bound = evaluation.bound
        _, gradient = gradient_of_trace(
            bound, bound.trace, evaluation.lengths, lambda place: evaluation.recorded(Recorded(*place))
        )
        return gradient


local_residual_gradient = LocalResidualGradient()
