"""The residual stream after the last layer, as logits are read from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivation import derive_on_the_way
from neuron_explainer.activations.derived_scalars.losses.objective import Evaluated, Objective
from neuron_explainer.attribution.computing.logit_objective import LogitObjective
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.loss import LossFunction


def last_residual(setting: Setting, token_ids: Sequence[int]) -> Float[Tensor, "tokens d_model"]:
    """The residual stream of a prompt, from a pass of its own. Errors are those of `derive`."""
    config = replace(setting.config, layer_indices=None)  # a trace's are those upstream of its node
    reading = _Reading(LogitObjective(config.get_or_create_model(), ()))
    loss = cast("LossFunction", reading)
    derive_on_the_way(token_ids, DerivedScalarType.ALWAYS_ONE, config, loss=loss, ablations=setting.ablations)
    if reading.read is None:
        raise RuntimeError("the pass did not reach the last residual stream")
    return reading.read[0]


class _Reading(Objective):
    """The residual stream at an objective's place, as the objective reads it."""

    def __init__(self, objective: Objective) -> None:
        self.residual, self.position = objective.residual, objective.position
        self.read: Tensor | None = None

    def evaluate(
        self, residual_at: Callable[[PlaceAndLayer], Tensor], lengths: Tensor, with_directions: bool
    ) -> Evaluated:
        """Keep it."""
        self.read = residual_at(self.residual)
        return Evaluated(self.read.new_zeros(len(self.read)))
