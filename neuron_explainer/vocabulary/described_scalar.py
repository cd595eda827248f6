"""What every derived scalar type can tell: the attributes of its row, and what follows from them."""

from typing import Self, cast

from neuron_explainer.errors import InvalidRequestError, choices_sentence, nearest_first
from neuron_explainer.vocabulary.derived_scalar_rows import Requirement, ScalarLayers, ScalarRow, Source
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.hook_names import place_named
from neuron_explainer.vocabulary.named_members import NamedMembers, member_of
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_LOOKED_UP = cast("ScalarRow", None)


class DescribedScalar(NamedMembers):
    """An enum whose members are described by a row; `DerivedScalarType` is the one that has members."""

    shape_spec_per_token_sequence: tuple[Dimension, ...]
    """The axes of its values for one prompt and layer."""
    location_within_layer: LocationWithinLayer | None
    """Where in its layer it arises; None if it arises in no layer, or in several places."""
    node_type: NodeType
    """The kind of component that one entry belongs to."""
    layers: ScalarLayers
    """The layers it has results for."""
    requires: tuple[Requirement, ...]
    """What it requires besides a model, a prompt and autoencoders."""
    autoencoder_node_type: NodeType | None
    """For a scalar about autoencoders, the kind of their latents; AUTOENCODER_LATENT means the only kind given.
    None for other scalars, and where the trace says which autoencoders are meant."""
    is_online: bool
    """Whether it is about autoencoders that run within the forward pass."""
    error_place: ActivationLocationType | None
    """For a scalar about an online autoencoder's error, the place of that error."""
    raw_place: ActivationLocationType | None
    """For a raw activation, its place."""
    meaning: str
    """One line of plain English, with the formula if it is short."""
    source: Source
    """Where its formula comes from."""

    def __new__(cls, value: str, row: ScalarRow = _LOOKED_UP) -> Self:
        """The member with that value and that row. (The default is for type checkers, as in `Dimension`.)"""
        member = str.__new__(cls, value)
        member._value_ = value
        member.shape_spec_per_token_sequence = row.dimensions
        member.location_within_layer = row.location
        member.node_type = row.node_type_of_an_entry
        member.layers = row.layers
        member.requires = row.requires
        member.autoencoder_node_type = row.autoencoder_node_type
        member.is_online = row.is_online
        member.error_place = row.error_place
        member.raw_place = row.place
        member.meaning = row.meaning
        member.source = row.source
        member.__doc__ = (
            f"{row.meaning}\n\nIts letters are explained by help(DerivedScalarType). Source: {row.source.value}."
        )
        return member

    @property
    def needs_gradient(self) -> bool:
        """Whether its own values (PassType.FORWARD) need the model's backward pass."""
        return Requirement.GRADIENT in self.requires

    @property
    def needs_trace_gradient(self) -> bool:
        """Whether the traced activation is differentiated locally, with respect to the residual stream before it."""
        return Requirement.TRACE_GRADIENT in self.requires

    def requires_grad_for_pass_type(self, pass_type: PassType | str) -> bool:
        """Whether the model's backward pass is needed: always for gradients, and for values computed from gradients.

        Raises:
            UnknownNameError: the pass type does not exist.
        """
        return member_of(PassType, pass_type, "pass type") is PassType.BACKWARD or self.needs_gradient

    @property
    def has_no_layers(self) -> bool:
        """Whether there is one result for the model (layer None), and not one for each layer."""
        return self.layers is ScalarLayers.NONE

    @property
    def is_raw_activation(self) -> bool:
        """Whether it is what one place of the forward pass, or of an online autoencoder, holds."""
        return self.raw_place is not None

    @property
    def is_autoencoder_latent(self) -> bool:
        """Whether one entry belongs to an autoencoder's latent."""
        return self.node_type.is_autoencoder_latent

    @classmethod
    def from_activation_location_type(cls, place: ActivationLocationType | str) -> Self:
        """The type that is the raw activation at `place`.

        Raises:
            InvalidRequestError: no type is, as for the residual stream after a LayerNorm.
            UnknownNameError: the place does not exist.
        """
        asked = place_named(place)
        by_place = {dst.raw_place: dst for dst in cls if dst.raw_place is not None}
        if asked not in by_place:
            raise InvalidRequestError(
                f"No derived scalar is the raw activation at {asked.value}. "
                f"{choices_sentence(nearest_first(asked.value, by_place))}"
            )
        return by_place[asked]

    def to_activation_location_type(self) -> ActivationLocationType:
        """The place whose raw activation it is.

        Raises:
            InvalidRequestError: it is computed from activations.
        """
        if self.raw_place is None:
            raise InvalidRequestError(
                f"{self.value} is computed from activations; it is not the activation of a place."
            )
        return self.raw_place
