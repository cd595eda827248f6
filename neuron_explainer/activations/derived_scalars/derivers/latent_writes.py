"""What an autoencoder's latents write to the residual stream, and those writes projected on a direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.attention import among_values
from neuron_explainer.activations.derived_scalars.derivers.latent_needs import InputOf, direction_among_latents
from neuron_explainer.activations.derived_scalars.derivers.mlp import among_neurons
from neuron_explainer.activations.derived_scalars.derivers.needs import PostNormOf
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType

_DST = DerivedScalarType

_LOCATION_OF_INNER_PLACE = {
    _DST.MLP_POST_ACT: LocationWithinLayer.MLP,
    _DST.ATTN_WEIGHTED_SUM_OF_VALUES: LocationWithinLayer.ATTN,
}
"""Inputs of autoencoders that reach the residual stream only through the output weights of their component."""


@dataclass(frozen=True)
class LatentWrites:
    """How latents write to the residual stream: a row for each latent, times a factor for each token (None: 1)."""

    rows: Float[Tensor, "latents d_model"]
    factor: Float[Tensor, "batch tokens 1"] | None

    @cached_property
    def norms(self) -> Tensor:
        """The norm of each latent's write per unit of activation: (latents,), or (batch, tokens, latents)."""
        norms = self.rows.norm(dim=-1)
        return norms if self.factor is None else norms * self.factor


@dataclass(frozen=True)
class _AboutWrites(Need):
    """A need that depends on how the latents of a kind of autoencoder reach the residual stream."""

    node_type: NodeType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The tensors for the norm of the layer's output, and for undoing the input scaling."""
        location = self._inner_location(bound)
        if location is not None:
            yield from PostNormOf(location).recordings(bound, layer)
        if bound.autoencoder(self.node_type, layer).scales_inputs:
            yield from InputOf(self.node_type).recordings(bound, layer)

    def _inner_location(self, bound: BoundConfig) -> LocationWithinLayer | None:
        dst = bound.autoencoder_context(self.node_type).dst
        if dst is _DST.MLP_PRE_ACT:
            raise InvalidRequestError(
                "Latents of MLP_PRE_ACT reach the residual stream through a nonlinearity, so a single latent has no "
                "write. Derive the latents themselves instead."
            )
        return _LOCATION_OF_INNER_PLACE.get(dst)

    def _post_norm(self, evaluation: Evaluation, layer: int | None) -> PostNorm | None:
        location = self._inner_location(evaluation.bound)
        return None if location is None else PostNormOf(location).value(evaluation, layer)

    def _scaled_inputs(self, evaluation: Evaluation, layer: int | None) -> Tensor | None:
        scales_inputs = evaluation.bound.autoencoder(self.node_type, layer).scales_inputs
        return InputOf(self.node_type).value(evaluation, layer) if scales_inputs else None


@dataclass(frozen=True)
class PostNormOfLatents(_AboutWrites):
    """What multiplies latents' writes before they are added, where their place lies before a norm; else None."""

    def value(self, evaluation: Evaluation, layer: int | None) -> PostNorm | None:
        """The gain and the scales."""
        return self._post_norm(evaluation, layer)


@dataclass(frozen=True)
class LatentWritesOf(_AboutWrites):
    """The rows W_lat of a layer's autoencoder."""

    def value(self, evaluation: Evaluation, layer: int | None) -> LatentWrites:
        """W_dec^T, or W_dec^T @ W_out (W_O) if the autoencoder's input reaches the residual stream through these."""
        writes: LatentWrites = evaluation.once(self, layer, lambda: self._computed(evaluation, layer))
        return writes

    def _computed(self, evaluation: Evaluation, layer: int | None) -> LatentWrites:
        bound = evaluation.bound
        autoencoder, block = bound.autoencoder(self.node_type, layer), bound.block(layer)
        rows, location = autoencoder.write_rows, self._inner_location(bound)
        if location is not None:
            component = block.mlp if location is LocationWithinLayer.MLP else block.attention
            rows = torch.nn.functional.linear(rows, component.output_weight.to(rows.dtype))
        inputs, post_norm = self._scaled_inputs(evaluation, layer), self._post_norm(evaluation, layer)
        factor = None if inputs is None else autoencoder.token_multiplier(inputs)
        if post_norm is not None:
            rows = rows * post_norm.gain
            factor = post_norm.inverse_scale if factor is None else factor * post_norm.inverse_scale
        return LatentWrites(rows, factor)


@dataclass(frozen=True)
class DirectionAmongLatents(_AboutWrites):
    """g @ W_lat^T: each latent's write per unit of activation, projected on a direction in the residual stream.

    The direction is taken through W_out or W_O and then W_dec, so that W_lat is never built.
    """

    direction: Need

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What the direction and the writes need."""
        if bound.autoencoder(self.node_type, layer).scales_inputs:
            yield from InputOf(self.node_type).recordings(bound, layer)
        yield from self._among_inputs(bound).recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens latents"]:
        """The projections."""
        projections: Tensor = evaluation.once(self, layer, lambda: self._computed(evaluation, layer))
        return projections

    def _computed(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        direction: Tensor = self._among_inputs(evaluation.bound).value(evaluation, layer)
        autoencoder = evaluation.bound.autoencoder(self.node_type, layer)
        return direction_among_latents(direction.flatten(2), autoencoder, self._scaled_inputs(evaluation, layer))

    def _among_inputs(self, bound: BoundConfig) -> Need:
        location = self._inner_location(bound)
        if location is None:
            return self.direction
        return among_neurons(self.direction) if location is LocationWithinLayer.MLP else among_values(self.direction)
