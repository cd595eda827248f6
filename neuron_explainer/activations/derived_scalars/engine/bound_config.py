"""A configuration bound to its model: the layers, the autoencoders, and where the backward pass starts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.engine.residual_order import (
    end_position,
    position_in,
    position_of_place,
    read_location,
    read_position,
)
from neuron_explainer.activations.derived_scalars.loss import EXAMPLE_OF_A_LOSS
from neuron_explainer.activations.derived_scalars.losses.objective import Objective
from neuron_explainer.errors import MisconfiguredError, MissingSettingError, NothingToDifferentiateError
from neuron_explainer.models.autoencoders.encoded_inputs import place_of_transcoder_input
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.ablating.bound_ablation import BoundAblation
    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.activations.derived_scalars.indexing import NodeIndex, TraceConfig
    from neuron_explainer.activations.derived_scalars.losses.bound_loss import BoundLoss
    from neuron_explainer.models.autoencoder_context import AutoencoderContext
    from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
    from neuron_explainer.models.hooks.recording import PlaceAndLayer
    from neuron_explainer.models.layers.block import Block
    from neuron_explainer.models.transformer import Transformer

_RESIDUAL_LOCATIONS = frozenset(
    {
        LocationWithinLayer.END_OF_PREV_LAYER,
        LocationWithinLayer.RESID_POST_ATTN,
        LocationWithinLayer.END_OF_LAYER,
    }
)


@dataclass(frozen=True)
class Start:
    """Where the backward pass starts.

    Attributes:
        residual: the last residual-stream place before the scalar that is differentiated.
        position: that place's position in the order of the residual stream.
        is_loss: whether the scalar is a loss of the logits, so that they and the final norm have gradients too.
    """

    residual: PlaceAndLayer
    position: int
    is_loss: bool


@dataclass(frozen=True, eq=False)
class BoundConfig:
    """A configuration together with the model, the loss and the ablations that it is used with.

    Attributes:
        config: the user's configuration.
        model: the transformer that runs.
        layers: the layers asked for, ascending.
        loss: where the backward pass starts, or what a value trace is projected on; None without one.
        ablations: what is overwritten while the model runs.
        freeze_final_norm: whether the backward pass holds the final norm's scale constant.
    """

    config: DstConfig
    model: Transformer
    layers: tuple[int, ...]
    loss: BoundLoss | Objective | None = None
    ablations: tuple[BoundAblation, ...] = ()
    freeze_final_norm: bool = False

    def block(self, layer: int | None) -> Block:
        """A layer of the model."""
        return self.model.blocks[required_layer(layer)]

    # Where the backward pass starts

    @property
    def trace(self) -> TraceConfig:
        """The activation that is traced.

        Raises:
            MissingSettingError: the configuration has no trace_config.
        """
        if self.config.trace_config is None:
            raise MissingSettingError("trace_config", "the gradient of a traced activation")
        return self.config.trace_config

    @cached_property
    def start(self) -> Start:
        """Where the backward pass starts: at the traced activation if there is a trace_config, else at the loss.

        Raises:
            NothingToDifferentiateError: there is neither a trace nor a loss.
        """
        if self.config.trace_config is not None:
            return self.start_of(self.config.trace_config)
        if self.loss is None:
            raise NothingToDifferentiateError(
                "This needs a gradient, but there is nothing to differentiate. "
                f"Pass a loss, such as loss={EXAMPLE_OF_A_LOSS}, or set DstConfig's trace_config.",
            )
        if isinstance(self.loss, Objective):
            return Start(self.loss.residual, self.loss.position, is_loss=False)
        return Start(self.end, end_position(self.model.config.n_layers), is_loss=True)

    def start_of(self, trace: TraceConfig) -> Start:
        """The last place of the residual stream before a traced activation."""
        node_type, layer = trace.node_type, trace.layer_index
        if node_type is NodeType.VOCAB_TOKEN:
            return Start(self.end, end_position(self.model.config.n_layers), is_loss=False)
        return Start(*self.read_by(node_type, required_layer(layer)), is_loss=False)

    def read_by(self, node_type: NodeType, layer: int) -> tuple[PlaceAndLayer, int]:
        """The residual-stream place that a node reads, and its position."""
        location = self.location_of(node_type)
        if location in _RESIDUAL_LOCATIONS:  # latents of the residual stream read the place that they encode
            place, place_layer = self.autoencoder_place(node_type, layer)
            return (place, place_layer), position_of_place(place, place_layer, self.model.config.n_layers)
        return read_location(self.block(layer), location), read_position(self.block(layer), location)

    def location_of(self, node_type: NodeType) -> LocationWithinLayer:
        """Where in its layer a head, neuron or latent is."""
        if node_type is NodeType.ATTENTION_HEAD:
            return LocationWithinLayer.ATTN
        if node_type is NodeType.MLP_NEURON:
            return LocationWithinLayer.MLP
        location = self.autoencoder_context(node_type).dst.location_within_layer
        if location is None:
            raise MisconfiguredError(
                f"Autoencoders of {self.autoencoder_context(node_type).dst} do not belong to a layer."
            )
        return location

    @property
    def end(self) -> PlaceAndLayer:
        """The residual stream after the last layer."""
        return ActivationLocationType.RESID_POST_MLP, self.model.config.n_layers - 1

    def has_gradient(self, place: ActivationLocationType, layer: int | None) -> bool:
        """Whether a place lies before the start of the backward pass, so that its gradient can be non-zero."""
        kind = place.autoencoder_node_type
        if kind is not None and place.location_within_layer is None:  # latents lie where their autoencoder does
            place, layer = self.autoencoder_place(kind, layer)
        return self.start.is_loss or position_of_place(place, layer, self.model.config.n_layers) <= self.start.position

    @property
    def unembeds_apart(self) -> bool:
        """Whether to compute LOGITS outside of the pass, which needs only the last token's logits, for its loss."""
        touched = (ablation.index.activation_location_type for ablation in self.ablations)
        return (
            self.loss is not None
            and not isinstance(self.loss, Objective)
            and self.loss.last_token_only
            and not self.config.derive_gradients
            and ActivationLocationType.LOGITS not in touched
        )

    def has_latent_gradient(self, node_type: NodeType, layer: int | None) -> bool:
        """Whether a layer's latents come before the start of the backward pass."""
        return self.has_gradient(*self.autoencoder_place(node_type, layer))

    def is_upstream(self, node_type: NodeType, layer: int | None, position: int) -> bool:
        """Whether a layer's nodes of a kind write upstream of a position of the residual stream.

        Autoencoders of the residual stream itself run after their place is recorded and before it is read, so their
        latents are upstream of their own place.
        """
        location = self.location_of(node_type)
        own = position_in(location, required_layer(layer))
        return own < position or (own == position and location in _RESIDUAL_LOCATIONS)

    # The node that edges lead from or to

    @property
    def node(self) -> NodeIndex:
        """The node that edges lead from or to.

        Raises:
            MissingSettingError: the configuration has no node_index_for_attribution.
        """
        if self.config.node_index_for_attribution is None:
            raise MissingSettingError("node_index_for_attribution", "the node whose edges are derived")
        return self.config.node_index_for_attribution

    @property
    def node_layer(self) -> int:
        """The node's layer."""
        return required_layer(self.node.layer_index)

    @property
    def node_read(self) -> tuple[PlaceAndLayer, int]:
        """The residual-stream place that the node reads, and its position."""
        return self.read_by(self.node.node_type, self.node_layer)

    # Autoencoders

    def autoencoder_context(self, node_type: NodeType) -> AutoencoderContext:
        """The autoencoders whose latents are of a node type; AUTOENCODER_LATENT means the only autoencoders given.

        Raises:
            MissingSettingError: the configuration has no autoencoders.
            MisconfiguredError: it has autoencoders of another kind, or several and the kind does not choose one.
        """
        context = self.config.get_autoencoder_context(node_type)
        if context is None:
            raise MissingSettingError(
                "autoencoder_context",
                f"autoencoders with latents of type {node_type.value}",
                "Load them with ne.load_autoencoders, and set DstConfig's `autoencoder_context`.",
            )
        return context

    def autoencoder(self, node_type: NodeType, layer: int | None) -> Autoencoder:
        """A layer's autoencoder."""
        return self.autoencoder_context(node_type).get_autoencoder(required_layer(layer))

    def autoencoder_place(self, node_type: NodeType, layer: int | None) -> PlaceAndLayer:
        """The place that a layer's autoencoder was trained on."""
        dst = self.autoencoder_context(node_type).dst
        if dst is DerivedScalarType.PREVIOUS_LAYER_RESID_POST_MLP:
            return self.block(layer).attention_reads_from
        return dst.to_activation_location_type(), layer

    def encoded_place(self, node_type: NodeType, layer: int | None) -> PlaceAndLayer:
        """The place that `encoded_input` computes a layer's encoded input from; not the former one of a transcoder.

        Raises:
            AutoencoderMismatchError: a transcoder cannot run within this model.
        """
        read = place_of_transcoder_input(self.autoencoder(node_type, layer), self.block(layer))
        return self.autoencoder_place(node_type, layer) if read is None else read

    @property
    def autoencoder_kinds(self) -> tuple[NodeType, ...]:
        """A node type for each of the autoencoder contexts given."""
        return self.config.autoencoder_kinds

    @cached_property
    def online_autoencoders(self) -> tuple[tuple[NodeType, int], ...]:
        """The kind and layer of every autoencoder that has to be part of the forward pass."""
        return tuple(
            (node_type, layer)
            for node_type in self.autoencoder_kinds
            for layer in self.autoencoder_context(node_type).layer_indices
            if self.runs_online(node_type, layer)
        )

    def runs_online(self, node_type: NodeType, layer: int | None) -> bool:
        """Whether a layer's autoencoder has to be part of the forward pass.

        An online autoencoder changes neither activations nor total gradients, so its latents and their gradients follow
        from its input and its input's gradient. It has to run only if its latents, its error, or the gradient at its
        input are overwritten.
        """
        context = self.autoencoder_context(node_type)
        place, place_layer = self.autoencoder_place(node_type, layer)
        for ablation in self.ablations:
            index = ablation.index
            location = index.activation_location_type
            if location.autoencoder_node_type is not None:
                if index.layer_index == layer and self.autoencoder_context(location.autoencoder_node_type) is context:
                    return True
            elif index.pass_type is PassType.BACKWARD and (location, index.layer_index) == (place, place_layer):
                return True
        return False


def required_layer(layer: int | None) -> int:
    """`layer`, which must not be None.

    Raises:
        MisconfiguredError: it is None.
    """
    if layer is None:
        raise MisconfiguredError("A layer is needed here, but layer_index is None.")
    return layer
