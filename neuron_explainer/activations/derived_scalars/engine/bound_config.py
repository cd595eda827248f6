"""What a request for derived scalars means for one model: its layers, its autoencoders, where gradients start."""

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
from neuron_explainer.errors import MisconfiguredError, MissingSettingError, NothingToDifferentiateError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.activations.derived_scalars.engine.bound_loss import BoundLoss
    from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, NodeIndex, TraceConfig
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
        residual: the last place of the residual stream before the scalar that is differentiated.
        position: that place's position in the order of the residual stream.
        is_loss: whether the scalar is a loss, so that logits and final norm have gradients too.
    """

    residual: PlaceAndLayer
    position: int
    is_loss: bool


@dataclass(frozen=True, eq=False)
class BoundConfig:
    """A configuration together with the model, loss and ablations it is used with.

    Attributes:
        config: the user's configuration.
        model: the transformer that runs.
        layers: the layers asked for, ascending.
        loss: what the backward pass starts from, or a value trace is directed at; None without one.
        ablations: what is overwritten while the model runs.
    """

    config: DstConfig
    model: Transformer
    layers: tuple[int, ...]
    loss: BoundLoss | None = None
    ablations: tuple[AblationSpec, ...] = ()

    def block(self, layer: int | None) -> Block:
        """A layer of the model."""
        return self.model.blocks[required_layer(layer)]

    # Where gradients come from

    @property
    def trace(self) -> TraceConfig:
        """The activation that is traced.

        Raises:
            MissingSettingError: the configuration names none.
        """
        if self.config.trace_config is None:
            raise MissingSettingError("trace_config", "the activation that the gradient is of")
        return self.config.trace_config

    @cached_property
    def start(self) -> Start:
        """Where the backward pass starts: at the trace, if there is one, else at the loss.

        Raises:
            NothingToDifferentiateError: there is neither.
        """
        if self.config.trace_config is not None:
            return self.start_of(self.config.trace_config)
        if self.loss is None:
            raise NothingToDifferentiateError(
                "A gradient was asked for, and there is nothing to differentiate: give a loss (a LossFnConfig or a "
                "function of the logits), or DstConfig's trace_config."
            )
        return Start(self.end, end_position(self.model.config.n_layers), is_loss=True)

    def start_of(self, trace: TraceConfig) -> Start:
        """The last place of the residual stream before a traced activation."""
        node_type, layer = trace.node_type, trace.layer_index
        if node_type is NodeType.VOCAB_TOKEN:
            return Start(self.end, end_position(self.model.config.n_layers), is_loss=False)
        return Start(*self.read_by(node_type, required_layer(layer)), is_loss=False)

    def read_by(self, node_type: NodeType, layer: int) -> tuple[PlaceAndLayer, int]:
        """The place of the residual stream that a node reads, and its position."""
        location = self.location_of(node_type)
        if location in _RESIDUAL_LOCATIONS:  # latents of the residual stream read what they are latents of
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
            raise MisconfiguredError(f"Autoencoders of {self.autoencoder_context(node_type).dst} are in no layer.")
        return location

    @property
    def end(self) -> PlaceAndLayer:
        """The residual stream after the last layer."""
        return ActivationLocationType.RESID_POST_MLP, self.model.config.n_layers - 1

    def has_gradient(self, place: ActivationLocationType, layer: int | None) -> bool:
        """Whether a place lies before the start of the backward pass, so that its gradient can be other than zero."""
        return self.start.is_loss or position_of_place(place, layer, self.model.config.n_layers) <= self.start.position

    @property
    def unembeds_apart(self) -> bool:
        """Whether LOGITS are best computed apart: the pass itself needs the last token's alone, for its loss."""
        touched = (ablation.index.activation_location_type for ablation in self.ablations)
        return (
            self.loss is not None
            and self.loss.last_token_only
            and not self.config.derive_gradients
            and ActivationLocationType.LOGITS not in touched
        )

    def has_latent_gradient(self, node_type: NodeType, layer: int | None) -> bool:
        """Whether a layer's latents come before the start of the backward pass."""
        return self.has_gradient(*self.autoencoder_place(node_type, layer))

    def is_upstream(self, node_type: NodeType, layer: int | None, position: int) -> bool:
        """Whether what a layer's nodes of a kind write is upstream of the residual stream at a position.

        Autoencoders of the residual stream itself come after what is recorded there and before what reads it, so their
        latents are upstream of their own place.
        """
        location = self.location_of(node_type)
        own = position_in(location, required_layer(layer))
        return own < position or (own == position and location in _RESIDUAL_LOCATIONS)

    # The node that edges lead from or to

    @property
    def node(self) -> NodeIndex:
        """The node that edges are attributed to.

        Raises:
            MissingSettingError: the configuration names none.
        """
        if self.config.node_index_for_attribution is None:
            raise MissingSettingError("node_index_for_attribution", "the node whose edges are meant")
        return self.config.node_index_for_attribution

    @property
    def node_layer(self) -> int:
        """The node's layer."""
        return required_layer(self.node.layer_index)

    @property
    def node_read(self) -> tuple[PlaceAndLayer, int]:
        """The place of the residual stream that the node reads, and its position."""
        return self.read_by(self.node.node_type, self.node_layer)

    # Autoencoders

    def autoencoder_context(self, node_type: NodeType) -> AutoencoderContext:
        """The autoencoders whose latents are meant by a node type; AUTOENCODER_LATENT means the only ones given.

        Raises:
            MissingSettingError: the configuration has none, or several and does not say which.
            AssertionError: it has those of another place.
        """
        context = self.config.get_autoencoder_context(node_type)
        if context is None:
            raise MissingSettingError("autoencoder_context", f"autoencoders whose latents are {node_type.value}s")
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

    @cached_property
    def autoencoder_kinds(self) -> tuple[NodeType, ...]:
        """A node type for each of the autoencoder contexts given."""
        config = self.config
        if config.autoencoder_context is None and config.multi_autoencoder_context is not None:
            return tuple(map(NodeType, config.multi_autoencoder_context.autoencoder_context_by_node_type))
        is_given = config.autoencoder_context is not None or config.autoencoder_config is not None
        return (NodeType.AUTOENCODER_LATENT,) if is_given else ()

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
        from its input and its input's gradient. Only where latents or errors are overwritten, or the gradient at its
        input is, does it make a difference.
        """
        context = self.autoencoder_context(node_type)
        place, place_layer = self.autoencoder_place(node_type, layer)
        for ablation in self.ablations:
            index = ablation.index
            location = index.activation_location_type
            if location.is_online_autoencoder_place:
                if index.layer_index == layer and self.autoencoder_context(kind_of_place(location)) is context:
                    return True
            elif index.pass_type is PassType.BACKWARD and (location, index.layer_index) == (place, place_layer):
                return True
        return False


def kind_of_place(place: ActivationLocationType) -> NodeType:
    """Whose latents or errors a place of online autoencoders holds."""
    return _kind_in_name(place.name)


def autoencoder_kind(dst: DerivedScalarType) -> NodeType:
    """Which autoencoders a derived scalar is about: those of the MLP, of attention, or the only ones given."""
    return _kind_in_name(dst.name)


def _kind_in_name(name: str) -> NodeType:
    if "MLP_AUTOENCODER" in name:
        return NodeType.MLP_AUTOENCODER_LATENT
    if "ATTENTION_AUTOENCODER" in name:
        return NodeType.ATTENTION_AUTOENCODER_LATENT
    return NodeType.AUTOENCODER_LATENT


def required_layer(layer: int | None) -> int:
    """The layer, which a need of something in a layer always has."""
    if layer is None:
        raise MisconfiguredError("A layer is needed here, and none was given.")
    return layer
