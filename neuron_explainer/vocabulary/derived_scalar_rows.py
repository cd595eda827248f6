"""What a row of the table of derived scalars holds. The rows themselves are in `derived_scalar_types.py`."""

from dataclasses import dataclass
from enum import StrEnum

from neuron_explainer.vocabulary import axes
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NODE_TYPE_BY_LAST_DIMENSION, LocationWithinLayer, NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType


class ScalarLayers(StrEnum):
    """The layers for which a derived scalar has results."""

    EVERY = "every layer"
    """Every layer asked for; for autoencoders, those with an autoencoder."""
    NONE = "no layer"
    """One result for the model, whose layer is None."""
    OF_NODE = "the layer of node_index_for_attribution"
    OF_TRACED_LATENT = "the layer of the traced latent"
    ONE = "the one layer of layer_indices"


class Requirement(StrEnum):
    """What a derived scalar requires besides a model and a prompt."""

    GRADIENT = "a loss or trace_config"
    """The model's backward pass."""
    TRACE_GRADIENT = "trace_config"
    """The gradient of the traced activation with respect to the residual stream just before it, found locally."""
    TRACED_LATENT = "trace_config of a latent"
    NODE = "node_index_for_attribution"
    COMPONENT = "activation_index_for_fake_grad"


class Source(StrEnum):
    """Where the formula of a derived scalar comes from.

    Most names and definitions are Transformer Debugger's. A method that was published before, or elsewhere, stands
    beside it.
    """

    FORWARD_PASS = "the model's forward pass"
    TRANSFORMER_DEBUGGER = "Transformer Debugger (OpenAI 2024)"
    VALUE_NORMS = "Transformer Debugger; norms of weighted values: Kobayashi et al. 2020"
    ACT_TIMES_GRAD = "Transformer Debugger; attribution patching from zero: Nanda 2023"
    DIRECT_EFFECT = "Transformer Debugger; direct logit attribution: Elhage et al. 2021"
    LOGIT_LENS = "Transformer Debugger; compare the logit lens: nostalgebraist 2020"
    GRADIENT_TIMES_INPUT = "Transformer Debugger; gradient × input: Shrikumar et al. 2016"
    AUTOENCODER = "sparse autoencoders: Cunningham et al. 2023, Bricken et al. 2023"
    AUTOENCODER_ERROR = "Transformer Debugger; error terms of sparse feature circuits: Marks et al. 2024"
    AUTOENCODER_EDGE = "Transformer Debugger; compare sparse feature circuits: Marks et al. 2024"


@dataclass(frozen=True)
class ScalarRow:
    """Everything known about one derived scalar before it is computed.

    Attributes:
        dimensions: the axes of its values for one prompt and layer.
        location: where in its layer it arises; None if it arises in no layer, or if that depends on its autoencoder or
            node.
        meaning: one line of plain English, with the formula if it is short.
        node_type: the kind of component that one entry belongs to; if not given, the last axis tells it.
        requires: what it requires besides a model, a prompt and autoencoders.
        layers: the layers it has results for.
        source: where its formula comes from.
        place: for a raw activation, its place.
        autoencoder_node_type: for a scalar about autoencoders, the kind of their latents. Not set where the trace says
            which autoencoders are meant.
        is_online: whether its autoencoders run within the forward pass.
        error_place: for a scalar about an online autoencoder's error, the place of that error.
    """

    dimensions: tuple[Dimension, ...]
    location: LocationWithinLayer | None
    meaning: str
    node_type: NodeType | None = None
    requires: tuple[Requirement, ...] = ()
    layers: ScalarLayers = ScalarLayers.EVERY
    source: Source = Source.TRANSFORMER_DEBUGGER
    place: ActivationLocationType | None = None
    autoencoder_node_type: NodeType | None = None
    is_online: bool = False
    error_place: ActivationLocationType | None = None

    @property
    def node_type_of_an_entry(self) -> NodeType:
        """The kind of component that one entry belongs to: the one given, or the last axis's."""
        return self.node_type or NODE_TYPE_BY_LAST_DIMENSION[self.dimensions[-1]]


def raw(place: ActivationLocationType, meaning: str, source: Source = Source.FORWARD_PASS) -> ScalarRow:
    """The row of the raw activation at a place, which says everything but its meaning."""
    return ScalarRow(
        place.shape,
        place.location_within_layer,
        meaning,
        place.node_type,
        layers=ScalarLayers.NONE if place.has_no_layers else ScalarLayers.EVERY,
        source=source,
        place=place,
        autoencoder_node_type=place.autoencoder_node_type,
        is_online=place.is_online_autoencoder_place,
        error_place=place if place.is_autoencoder_error else None,
    )


_LOCATION_OF_AUTOENCODER = {
    NodeType.AUTOENCODER_LATENT: None,
    NodeType.MLP_AUTOENCODER_LATENT: LocationWithinLayer.MLP,
    NodeType.ATTENTION_AUTOENCODER_LATENT: LocationWithinLayer.ATTN,
}


def latent(
    kind: NodeType,
    meaning: str,
    dimensions: tuple[Dimension, ...] = axes.LATENTS,
    requires: tuple[Requirement, ...] = (),
    source: Source = Source.TRANSFORMER_DEBUGGER,
    is_online: bool = False,
) -> ScalarRow:
    """The row of a scalar with one entry for each latent of a kind."""
    location = _LOCATION_OF_AUTOENCODER[kind]
    return ScalarRow(
        dimensions,
        location,
        meaning,
        kind,
        requires,
        source=source,
        autoencoder_node_type=kind,
        is_online=is_online,
    )


def online(
    kind: NodeType,
    meaning: str,
    dimensions: tuple[Dimension, ...] = axes.LATENTS,
    requires: tuple[Requirement, ...] = (),
    source: Source = Source.TRANSFORMER_DEBUGGER,
) -> ScalarRow:
    """The row of a scalar with one entry for each latent of a kind of autoencoder that runs within the pass."""
    return latent(kind, meaning, dimensions, requires, source, is_online=True)


def error(
    place: ActivationLocationType,
    meaning: str,
    requires: tuple[Requirement, ...] = (),
    source: Source = Source.AUTOENCODER_ERROR,
) -> ScalarRow:
    """The row of a scalar computed from an online autoencoder's error, with the error's axes."""
    return ScalarRow(
        place.shape,
        place.location_within_layer,
        meaning,
        place.node_type,
        requires,
        source=source,
        autoencoder_node_type=place.autoencoder_node_type,
        is_online=True,
        error_place=place,
    )
