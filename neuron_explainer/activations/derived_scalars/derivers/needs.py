"""Needs that derivers of several subjects have in common: where things are, what components write, the gradient g."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation
from neuron_explainer.activations.derived_scalars.engine.residual_order import position_in
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation, Given, Need, Recorded, Where
from neuron_explainer.models.layers.attention import Attention
from neuron_explainer.models.layers.mlp import MLP
from neuron_explainer.models.layers.norms import Norm
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


def before_start(location: LocationWithinLayer) -> Where:
    """Where a place of each layer lies before the start of the backward pass."""

    def where(bound: BoundConfig, layer: int | None) -> bool:
        return layer is None or position_in(location, layer) < bound.start.position

    return where


before_start_in_attention = before_start(LocationWithinLayer.ATTN)
before_start_in_mlp = before_start(LocationWithinLayer.MLP)

BLOCK = Given(lambda bound, layer: bound.block(layer))


@dataclass(frozen=True)
class ResidualBefore(Need):
    """The residual stream that a layer's attention or MLP reads, or (layer None) the start of the backward pass's."""

    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The end of the previous layer, or the embedding."""
        yield Recorded(*bound.block(layer).attention_reads_from, self.pass_type)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        """The tensor, (batch, tokens, d_model)."""
        (recorded,) = self.recordings(evaluation.bound, layer)
        return evaluation.recorded(recorded)


@dataclass(frozen=True)
class FinalResidualGradient(Need):
    """The gradient g at the last place of the residual stream before the scalar that is differentiated."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The gradient there."""
        yield Recorded(*bound.start.residual, PassType.BACKWARD)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        """The tensor, (batch, tokens, d_model)."""
        (recorded,) = self.recordings(evaluation.bound, layer)
        return evaluation.recorded(recorded)


@dataclass(frozen=True)
class PostNorm:
    """What a family does to a layer's write before it is added to the residual stream, its scale held constant."""

    gain: Float[Tensor, " d_model"]
    inverse_scale: Float[Tensor, "batch tokens 1"]

    def of_direction(self, direction: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens d_model"]:
        """The direction among raw writes whose dot product is that of `direction` with what is added."""
        return direction * (self.gain * self.inverse_scale)


@dataclass(frozen=True)
class PostNormOf(Need):
    """A layer's PostNorm after attention or the MLP; None in the families that add what is written as it is."""

    location: LocationWithinLayer

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What the scale is computed from."""
        if self._norm(bound, layer) is not None:
            yield from self._source.recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> PostNorm | None:
        """The gain and the scales."""
        norm = self._norm(evaluation.bound, layer)
        if norm is None:
            return None
        component: Attention | MLP = getattr(evaluation.bound.block(layer), self._name)
        source: Any = self._source.value(evaluation, layer)
        # Norms are computed in float32 at least; what this one multiplies is of the model's dtype.
        inverse_scale = 1 / norm.scale(component.output(source))
        return PostNorm(norm.effective_gain.to(source.dtype), inverse_scale.to(source.dtype))

    @property
    def _name(self) -> str:
        return "mlp" if self.location is LocationWithinLayer.MLP else "attention"

    @property
    def _source(self) -> Activation:
        is_mlp = self.location is LocationWithinLayer.MLP
        return Activation(_PLACE.MLP_POST_ACT if is_mlp else _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES)

    def _norm(self, bound: BoundConfig, layer: int | None) -> Norm | None:
        norm: Norm | None = getattr(bound.block(layer), f"{self._name}_post_norm")
        return norm
