"""Needs of derived scalars about autoencoders: inputs, latents and errors, online or offline, and their gradients."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded, Where
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import error_place, latent_place
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Scalar
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.encoded_inputs import encoded_input
from neuron_explainer.models.layers.routed import Neurons, dense
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_FORWARD, _BACKWARD = PassType.FORWARD, PassType.BACKWARD


def latents_have_gradient(node_type: NodeType) -> Where:
    """The layers whose latents of a kind come before the start of the backward pass."""
    return lambda bound, layer: bound.has_latent_gradient(node_type, layer)


def latents_write_before_start(node_type: NodeType) -> Where:
    """The layers whose latents of a kind write before the start of the backward pass."""
    return lambda bound, layer: bound.is_upstream(node_type, layer, bound.start.position)


@dataclass(frozen=True)
class AutoencoderOf(Need):
    """A layer's autoencoder."""

    node_type: NodeType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """Nothing."""
        return iter(())

    def value(self, evaluation: Evaluation, layer: int | None) -> Autoencoder:
        """The autoencoder."""
        return evaluation.bound.autoencoder(self.node_type, layer)


@dataclass(frozen=True)
class ExplainedOf(Need):
    """What a layer's autoencoder reconstructs, as recorded, or (BACKWARD) the gradient with respect to it."""

    node_type: NodeType
    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The tensor at the autoencoder's place."""
        yield Recorded(*bound.autoencoder_place(self.node_type, layer), self.pass_type)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens inputs"]:
        """One number for each input; the heads' channels are concatenated."""
        (recorded,) = self.recordings(evaluation.bound, layer)
        return evaluation.recorded(recorded).flatten(2)


@dataclass(frozen=True)
class InputOf(Need):
    """What a layer's autoencoder encodes, as recorded: what it reconstructs, except of a transcoder."""

    node_type: NodeType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The tensor at the place that it is computed from."""
        yield Recorded(*bound.encoded_place(self.node_type, layer))

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens inputs"]:
        """One number for each input."""
        bound = evaluation.bound
        (recorded,) = self.recordings(bound, layer)
        autoencoder = bound.autoencoder(self.node_type, layer)
        inputs: Tensor = evaluation.once(
            self, layer, lambda: encoded_input(autoencoder, bound.block(layer), evaluation.recorded(recorded))
        )
        return inputs


@dataclass(frozen=True)
class OfflineInputOf(Need):
    """What a layer's autoencoder encodes when it does not run within the pass.

    For an autoencoder of RESID_DELTA_MLP this is what the neurons write, without the bias.
    """

    node_type: NodeType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What the input needs."""
        return self._need(bound, layer).recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens inputs"]:
        """One number for each input."""
        value: Tensor = self._need(evaluation.bound, layer).value(evaluation, layer)
        return value

    def _need(self, bound: BoundConfig, layer: int | None) -> Need:
        writes_in_mlp = bound.autoencoder_context(self.node_type).dst is DerivedScalarType.RESID_DELTA_MLP
        if writes_in_mlp and bound.autoencoder(self.node_type, layer).is_square:
            return Scalar(DerivedScalarType.RESID_DELTA_MLP_FROM_MLP_POST_ACT)
        return InputOf(self.node_type)


@dataclass(frozen=True)
class OnlineLatents(Need):
    """Latents of an autoencoder that runs within the pass, or their gradient through the reconstruction alone."""

    node_type: NodeType
    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The latents if the autoencoder has to run; else its input."""
        if bound.runs_online(self.node_type, layer):
            yield Recorded(latent_place(bound.autoencoder_context(self.node_type)), layer, self.pass_type)
        elif self.pass_type is _FORWARD or bound.autoencoder(self.node_type, layer).scales_inputs:
            yield from InputOf(self.node_type).recordings(bound, layer)
        if self.pass_type is _BACKWARD and not bound.runs_online(self.node_type, layer):
            yield from ExplainedOf(self.node_type, _BACKWARD).recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens latents"]:
        """The recorded tensor; or the encoded input, or the input's gradient through the decoder."""
        bound = evaluation.bound
        if bound.runs_online(self.node_type, layer):
            (recorded,) = self.recordings(bound, layer)
            return evaluation.recorded(recorded)
        latents: Tensor = evaluation.once(self, layer, lambda: self._computed(evaluation, layer))
        return latents

    def _computed(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        autoencoder = evaluation.bound.autoencoder(self.node_type, layer)
        if self.pass_type is _FORWARD:
            return autoencoder.encode(InputOf(self.node_type).value(evaluation, layer))
        return direction_among_latents(
            ExplainedOf(self.node_type, _BACKWARD).value(evaluation, layer),
            autoencoder,
            InputOf(self.node_type).value(evaluation, layer) if autoencoder.scales_inputs else None,
        )


def online_latent_gradient(node_type: NodeType) -> OnlineLatents:
    """The gradient with respect to online latents, through the reconstruction alone."""
    return OnlineLatents(node_type, _BACKWARD)


@dataclass(frozen=True)
class OnlineError(Need):
    """What an online autoencoder leaves unexplained, or the gradient with respect to it."""

    node_type: NodeType
    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The error if the autoencoder has to run; else what it reconstructs, and what it encodes."""
        if bound.runs_online(self.node_type, layer):
            yield Recorded(error_place(bound.autoencoder_context(self.node_type)), layer, self.pass_type)
        else:
            yield from ExplainedOf(self.node_type, self.pass_type).recordings(bound, layer)
            if self.pass_type is _FORWARD:
                yield from InputOf(self.node_type).recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens inputs"]:
        """The recorded tensor; or what is reconstructed minus the reconstruction, with the gradient of the former."""
        bound = evaluation.bound
        if bound.runs_online(self.node_type, layer):
            (recorded,) = self.recordings(bound, layer)
            return evaluation.recorded(recorded)
        explained = ExplainedOf(self.node_type, self.pass_type).value(evaluation, layer)
        if self.pass_type is _BACKWARD:
            return explained
        latents = OnlineLatents(self.node_type).value(evaluation, layer)
        inputs = InputOf(self.node_type).value(evaluation, layer)
        return bound.autoencoder(self.node_type, layer).error(explained, latents, inputs)


@dataclass(frozen=True)
class ErrorAsSet(Need):
    """The error where an ablation has touched it; None where it is what the latents leave unexplained."""

    node_type: NodeType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The error's own place, if it is set there."""
        if self._is_set(bound, layer):
            yield Recorded(error_place(bound.autoencoder_context(self.node_type)), layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor | None:
        """(batch, tokens, inputs)"""
        recordings = list(self.recordings(evaluation.bound, layer))
        return evaluation.recorded(recordings[0]).flatten(2) if recordings else None

    def _is_set(self, bound: BoundConfig, layer: int | None) -> bool:
        return any(
            index.activation_location_type.is_autoencoder_error
            and index.layer_index == layer
            and error_place(bound.autoencoder_context(self.node_type)) is index.activation_location_type
            for index in (ablation.index for ablation in bound.ablations)
        )


def online_error_gradient(node_type: NodeType) -> OnlineError:
    """The gradient with respect to an online autoencoder's error."""
    return OnlineError(node_type, _BACKWARD)


def direction_among_latents(
    direction: Float[Tensor, "batch tokens inputs"],
    autoencoder: Autoencoder,
    inputs: Float[Tensor, "batch tokens inputs"] | None,
) -> Float[Tensor, "batch tokens latents"]:
    """Each latent's decoder column, projected on a direction among the autoencoder's inputs.

    Args:
        direction: one number for each input.
        autoencoder: the autoencoder.
        inputs: what it encodes, if it scales each token's input; else None.
    """
    projected = direction.to(autoencoder.dtype) @ autoencoder.decoder_weight
    return projected if inputs is None else projected * autoencoder.token_multiplier(inputs)


@dataclass(frozen=True)
class PassedOn(Need):
    """The activation at a place with which the pass goes on: what an autoencoder that runs there makes of it."""

    place: ActivationLocationType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The activation; and where an autoencoder runs, its latents, its inputs and its error."""
        yield Recorded(self.place, layer)
        for kind in self._online(bound, layer):
            for need in (OnlineLatents(kind), InputOf(kind), ErrorAsSet(kind)):
                yield from need.recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Neurons:
        """The activation, (batch, tokens, …)."""
        activation = evaluation.kept(Recorded(self.place, layer))
        for kind in self._online(evaluation.bound, layer):
            autoencoder = evaluation.bound.autoencoder(kind, layer)
            explained, inputs = dense(activation).flatten(2), InputOf(kind).value(evaluation, layer)
            error = ErrorAsSet(kind).value(evaluation, layer)
            if error is None:
                error = autoencoder.error(explained, autoencoder.encode(inputs), inputs)
            recon = autoencoder.decode(OnlineLatents(kind).value(evaluation, layer), inputs)
            activation = (recon.to(error.dtype) + error).view_as(dense(activation))
        return activation

    def _online(self, bound: BoundConfig, layer: int | None) -> list[NodeType]:
        return [
            kind
            for kind, own_layer in bound.online_autoencoders
            if bound.autoencoder_place(kind, own_layer) == (self.place, layer)
        ]
