"""Needs that several subjects share: layers before the backward pass starts, the gradient g, norms of outputs."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.latent_needs import PassedOn
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded, Where
from neuron_explainer.activations.derived_scalars.engine.residual_order import position_in
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Given
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.models.layers.routed import dense
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


def before_start(location: LocationWithinLayer) -> Where:
    """The layers in which a location lies before the start of the backward pass."""

    def where(bound: BoundConfig, layer: int | None) -> bool:
        return layer is None or position_in(location, layer) < bound.start.position

    return where


before_start_in_attention = before_start(LocationWithinLayer.ATTN)
before_start_in_mlp = before_start(LocationWithinLayer.MLP)

BLOCK = Given(lambda bound, layer: bound.block(layer))


@dataclass(frozen=True)
class ResidualBefore(Need):
    """The residual stream at the start of a layer, which its attention reads."""

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
    """The gradient g, at the last residual-stream place before the scalar that is differentiated."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The gradient there."""
        yield Recorded(*bound.start.residual, PassType.BACKWARD)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        """The tensor, (batch, tokens, d_model)."""
        (recorded,) = self.recordings(evaluation.bound, layer)
        return evaluation.recorded(recorded)


@dataclass(frozen=True)
class PostNormOf(Need):
    """What multiplies the output of a layer's attention or MLP before it is added; None if it is added as it is."""

    location: LocationWithinLayer

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The activation that the output, and so its scale, is computed from."""
        if bound.model.config.scales_writes:
            yield from self._activation.recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> PostNorm | None:
        """The gain and the scales."""
        bound = evaluation.bound
        if not bound.model.config.scales_writes:
            return None
        activation = self._activation.value(evaluation, layer)
        block = bound.block(layer)
        if self._is_of_mlp:
            return block.mlp_post_norm_at(activation)
        return block.attention_post_norm_at(dense(activation))

    @property
    def _is_of_mlp(self) -> bool:
        return self.location is LocationWithinLayer.MLP

    @property
    def _activation(self) -> PassedOn:
        return PassedOn(_PLACE.MLP_POST_ACT if self._is_of_mlp else _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES)
