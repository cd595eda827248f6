"""The vocabulary of derived scalars: what can be asked of a model about one prompt, and the axes each answer has.

Nothing here imports torch. The functions that compute them are in the modules by subject beside this one.
"""

from enum import StrEnum, auto

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_TOKENS = Dimension.SEQUENCE_TOKENS
_ATTENDED_TO = Dimension.ATTENDED_TO_SEQUENCE_TOKENS
_PAIRS = Dimension.SEQUENCE_TOKEN_PAIRS
_HEADS = Dimension.ATTN_HEADS
_QK_CHANNELS = Dimension.QUERY_AND_KEY_CHANNELS
_V_CHANNELS = Dimension.VALUE_CHANNELS
_NEURONS = Dimension.MLP_ACTS
_RESIDUAL = Dimension.RESIDUAL_STREAM_CHANNELS
_LATENTS = Dimension.AUTOENCODER_LATENTS
_VOCABULARY = Dimension.VOCAB_SIZE
_ONE = Dimension.SINGLETON

_BY_VOCABULARY_TOKEN = (_TOKENS, _VOCABULARY)
_BY_CHANNEL = (_TOKENS, _RESIDUAL)
_BY_TOKEN = (_TOKENS, _ONE)
_BY_HEAD_QUERY_CHANNEL = (_TOKENS, _HEADS, _QK_CHANNELS)
_BY_HEAD_VALUE_CHANNEL = (_TOKENS, _HEADS, _V_CHANNELS)
_BY_PAIR_AND_HEAD = (_TOKENS, _ATTENDED_TO, _HEADS)
_BY_NEURON = (_TOKENS, _NEURONS)
_BY_NEURON_AND_CHANNEL = (_TOKENS, _NEURONS, _RESIDUAL)
_BY_PAIR_HEAD_VALUE_CHANNEL = (_TOKENS, _ATTENDED_TO, _HEADS, _V_CHANNELS)
_BY_PAIR_HEAD_CHANNEL = (_TOKENS, _ATTENDED_TO, _HEADS, _RESIDUAL)
_BY_PAIR_AND_CHANNEL = (_TOKENS, _ATTENDED_TO, _RESIDUAL)
_BY_FLAT_PAIR_AND_HEAD = (_PAIRS, _HEADS)
_BY_HEAD = (_TOKENS, _HEADS)
_BY_PAIR = (_TOKENS, _ATTENDED_TO, _ONE)
_BY_FLAT_PAIR = (_PAIRS, _ONE)
_BY_FLAT_PAIR_AND_LATENT = (_PAIRS, _LATENTS)
_BY_HEAD_AND_LATENT = (_TOKENS, _HEADS, _LATENTS)
_BY_LATENT = (_TOKENS, _LATENTS)
_BY_LATENT_AND_CHANNEL = (_TOKENS, _LATENTS, _RESIDUAL)

_START = LocationWithinLayer.END_OF_PREV_LAYER
_ATTN = LocationWithinLayer.ATTN
_MIDDLE = LocationWithinLayer.RESID_POST_ATTN
_MLP = LocationWithinLayer.MLP
_END = LocationWithinLayer.END_OF_LAYER

_NEEDS_GRADIENT = True

_NODE_TYPE_BY_LAST_DIMENSION = {
    _RESIDUAL: NodeType.RESIDUAL_STREAM_CHANNEL,
    _HEADS: NodeType.ATTENTION_HEAD,
    _NEURONS: NodeType.MLP_NEURON,
    _LATENTS: NodeType.AUTOENCODER_LATENT,
    _VOCABULARY: NodeType.VOCAB_TOKEN,
    _ONE: NodeType.LAYER,
}


def _latent_of(location: LocationWithinLayer | None, node_type: NodeType) -> NodeType:
    """A latent's kind where the location says which autoencoder it is of; any other kind as it is."""
    if node_type is not NodeType.AUTOENCODER_LATENT:
        return node_type
    if location is None:
        return node_type
    return NodeType.MLP_AUTOENCODER_LATENT if location is _MLP else NodeType.ATTENTION_AUTOENCODER_LATENT


class DerivedScalarType(StrEnum):
    """What can be derived from a model's activations, and their gradients, on one prompt.

    A member is its value (its name in lower case), the axes of one layer's result, where in a layer it belongs (None:
    in no layer, or wherever the autoencoder or node it is about happens to be), what kind of component one entry
    belongs to (by its last axis unless given), and whether its values need the backward pass.
    """

    shape_spec_per_token_sequence: tuple[Dimension, ...]
    """The axes of its values for one prompt and layer."""
    location_within_layer: LocationWithinLayer | None
    """Where in its layer it arises; None where it arises in no layer, or in several places."""
    node_type: NodeType
    """What kind of component one entry is about."""
    needs_gradient: bool
    """Whether its own values (PassType.FORWARD) need the model's backward pass."""

    def __new__(
        cls,
        value: str,
        dimensions: tuple[Dimension, ...],
        location: LocationWithinLayer | None = None,
        node_type: NodeType | None = None,
        needs_gradient: bool = False,
    ) -> "DerivedScalarType":
        """The member with that value and those properties."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.shape_spec_per_token_sequence = dimensions
        member.location_within_layer = location
        member.node_type = node_type or _latent_of(location, _NODE_TYPE_BY_LAST_DIMENSION[dimensions[-1]])
        member.needs_gradient = needs_gradient
        return member

    # Raw activations: what a place of the forward pass holds. With gradients, what the backward pass leaves there too.
    LOGITS = auto(), _BY_VOCABULARY_TOKEN
    RESID_POST_EMBEDDING = auto(), _BY_CHANNEL
    RESID_DELTA_ATTN = auto(), _BY_CHANNEL, _ATTN
    RESID_POST_ATTN = auto(), _BY_CHANNEL, _MIDDLE
    RESID_DELTA_MLP = auto(), _BY_CHANNEL, _MLP
    RESID_POST_MLP = auto(), _BY_CHANNEL, _END
    ATTN_INPUT_LAYER_NORM_SCALE = auto(), _BY_TOKEN, _START
    MLP_INPUT_LAYER_NORM_SCALE = auto(), _BY_TOKEN, _MIDDLE
    RESID_FINAL_LAYER_NORM_SCALE = auto(), _BY_TOKEN
    ATTN_QUERY = auto(), _BY_HEAD_QUERY_CHANNEL, _ATTN, NodeType.QK_CHANNEL
    ATTN_KEY = auto(), _BY_HEAD_QUERY_CHANNEL, _ATTN, NodeType.QK_CHANNEL
    ATTN_VALUE = auto(), _BY_HEAD_VALUE_CHANNEL, _ATTN, NodeType.V_CHANNEL
    ATTN_QK_LOGITS = auto(), _BY_PAIR_AND_HEAD, _ATTN
    ATTN_QK_PROBS = auto(), _BY_PAIR_AND_HEAD, _ATTN
    ATTN_WEIGHTED_SUM_OF_VALUES = auto(), _BY_HEAD_VALUE_CHANNEL, _ATTN, NodeType.V_CHANNEL
    MLP_PRE_ACT = auto(), _BY_NEURON, _MLP
    MLP_POST_ACT = auto(), _BY_NEURON, _MLP

    # The residual stream, and whole layers' writes to it.
    ALWAYS_ONE = auto(), _BY_TOKEN
    PREVIOUS_LAYER_RESID_POST_MLP = auto(), _BY_CHANNEL, _START
    RESID_POST_EMBEDDING_NORM = auto(), _BY_TOKEN, None, NodeType.TOKEN
    RESID_POST_ATTN_NORM = auto(), _BY_TOKEN, _MIDDLE
    RESID_POST_MLP_NORM = auto(), _BY_TOKEN, _END
    ATTN_LAYER_WRITE_NORM = auto(), _BY_TOKEN, _ATTN
    MLP_LAYER_WRITE_NORM = auto(), _BY_TOKEN, _MLP
    RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_TOKEN, None, NodeType.TOKEN, _NEEDS_GRADIENT
    RESID_POST_EMBEDDING_PROJ_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), _BY_TOKEN, None, NodeType.TOKEN
    RESID_POST_ATTN_PROJ_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_TOKEN, _MIDDLE, None, _NEEDS_GRADIENT
    RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_TOKEN, _END, None, _NEEDS_GRADIENT
    ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_TOKEN, _ATTN, None, _NEEDS_GRADIENT
    MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_TOKEN, _MLP, None, _NEEDS_GRADIENT
    TOKEN_ATTRIBUTION = auto(), _BY_TOKEN, None, NodeType.TOKEN, _NEEDS_GRADIENT

    # MLP neurons.
    RESID_DELTA_MLP_FROM_MLP_POST_ACT = auto(), _BY_CHANNEL, _MLP
    MLP_WRITE = auto(), _BY_NEURON_AND_CHANNEL, _MLP, NodeType.MLP_NEURON
    MLP_WRITE_NORM = auto(), _BY_NEURON, _MLP
    MLP_ACT_TIMES_GRAD = auto(), _BY_NEURON, _MLP, None, _NEEDS_GRADIENT
    MLP_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_NEURON, _MLP, None, _NEEDS_GRADIENT
    MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), _BY_NEURON, _MLP

    # Attention heads, by pair of tokens (attended from, attended to) or by token.
    ATTN_WEIGHTED_VALUE = auto(), _BY_PAIR_HEAD_VALUE_CHANNEL, _ATTN, NodeType.V_CHANNEL
    ATTN_WRITE = auto(), _BY_PAIR_HEAD_CHANNEL, _ATTN, NodeType.ATTENTION_HEAD
    ATTN_WRITE_SUM_HEADS = auto(), _BY_PAIR_AND_CHANNEL, _ATTN
    UNFLATTENED_ATTN_WRITE_NORM = auto(), _BY_PAIR_AND_HEAD, _ATTN
    ATTN_WRITE_NORM = auto(), _BY_FLAT_PAIR_AND_HEAD, _ATTN
    ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN = auto(), _BY_HEAD, _ATTN
    FLATTENED_ATTN_POST_SOFTMAX = auto(), _BY_FLAT_PAIR_AND_HEAD, _ATTN
    UNFLATTENED_ATTN_ACT_TIMES_GRAD = auto(), _BY_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    ATTN_ACT_TIMES_GRAD = auto(), _BY_FLAT_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    ATTN_ACT_TIMES_GRAD_PER_SEQUENCE_TOKEN = auto(), _BY_HEAD, _ATTN, None, _NEEDS_GRADIENT
    UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    UNFLATTENED_ATTN_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), _BY_PAIR_AND_HEAD, _ATTN
    ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_FLAT_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN = auto(), _BY_HEAD, _ATTN, None, _NEEDS_GRADIENT

    # What attention writes to the latents of an autoencoder.
    AUTOENCODER_LATENT_GRAD_WRT_RESIDUAL_INPUT = auto(), _BY_CHANNEL
    AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT = auto(), _BY_NEURON
    ATTN_WRITE_TO_LATENT = auto(), _BY_PAIR_AND_HEAD, _ATTN
    ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS = auto(), _BY_PAIR, _ATTN, NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR
    FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS = (
        auto(),
        _BY_FLAT_PAIR,
        _ATTN,
        NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR,
    )
    ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN = auto(), _BY_HEAD, _ATTN
    FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS_BATCHED = (
        auto(),
        _BY_FLAT_PAIR_AND_LATENT,
        _ATTN,
        NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR,
    )
    ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN_BATCHED = auto(), _BY_HEAD_AND_LATENT, _ATTN, NodeType.AUTOENCODER_LATENT

    # Autoencoder latents: offline, encoded from what was recorded.
    AUTOENCODER_LATENT = auto(), _BY_LATENT
    MLP_AUTOENCODER_LATENT = auto(), _BY_LATENT, _MLP
    ATTENTION_AUTOENCODER_LATENT = auto(), _BY_LATENT, _ATTN
    AUTOENCODER_WRITE_NORM = auto(), _BY_LATENT
    MLP_AUTOENCODER_WRITE_NORM = auto(), _BY_LATENT, _MLP
    ATTENTION_AUTOENCODER_WRITE_NORM = auto(), _BY_LATENT, _ATTN

    # Autoencoder latents: online, as part of the forward pass.
    ONLINE_AUTOENCODER_LATENT = auto(), _BY_LATENT
    ONLINE_AUTOENCODER_WRITE = auto(), _BY_LATENT_AND_CHANNEL, None, NodeType.AUTOENCODER_LATENT
    ONLINE_AUTOENCODER_WRITE_NORM = auto(), _BY_LATENT
    ONLINE_AUTOENCODER_ACT_TIMES_GRAD = auto(), _BY_LATENT, None, None, _NEEDS_GRADIENT
    ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_LATENT, None, None, _NEEDS_GRADIENT
    ONLINE_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), _BY_LATENT
    ONLINE_MLP_AUTOENCODER_LATENT = auto(), _BY_LATENT, _MLP
    ONLINE_MLP_AUTOENCODER_WRITE = auto(), _BY_LATENT_AND_CHANNEL, _MLP, NodeType.MLP_AUTOENCODER_LATENT
    ONLINE_MLP_AUTOENCODER_WRITE_NORM = auto(), _BY_LATENT, _MLP
    ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD = auto(), _BY_LATENT, _MLP, None, _NEEDS_GRADIENT
    ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_LATENT, _MLP, None, _NEEDS_GRADIENT
    ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), _BY_LATENT, _MLP
    ONLINE_ATTENTION_AUTOENCODER_LATENT = auto(), _BY_LATENT, _ATTN
    ONLINE_ATTENTION_AUTOENCODER_WRITE = auto(), _BY_LATENT_AND_CHANNEL, _ATTN, NodeType.ATTENTION_AUTOENCODER_LATENT
    ONLINE_ATTENTION_AUTOENCODER_WRITE_NORM = auto(), _BY_LATENT, _ATTN
    ONLINE_ATTENTION_AUTOENCODER_ACT_TIMES_GRAD = auto(), _BY_LATENT, _ATTN, None, _NEEDS_GRADIENT
    ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_LATENT, _ATTN, None, _NEEDS_GRADIENT
    ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), _BY_LATENT, _ATTN

    # What an online autoencoder leaves unexplained.
    ONLINE_MLP_AUTOENCODER_ERROR = auto(), _BY_NEURON, _MLP, NodeType.MLP_AUTOENCODER_ERROR
    ONLINE_MLP_AUTOENCODER_ERROR_WRITE_NORM = auto(), _BY_NEURON, _MLP, NodeType.MLP_AUTOENCODER_ERROR
    ONLINE_MLP_AUTOENCODER_ERROR_ACT_TIMES_GRAD = (
        auto(),
        _BY_NEURON,
        _MLP,
        NodeType.MLP_AUTOENCODER_ERROR,
        _NEEDS_GRADIENT,
    )
    ONLINE_MLP_AUTOENCODER_ERROR_WRITE_TO_FINAL_RESIDUAL_GRAD = (
        auto(),
        _BY_NEURON,
        _MLP,
        NodeType.MLP_AUTOENCODER_ERROR,
        _NEEDS_GRADIENT,
    )
    ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR = auto(), _BY_CHANNEL, _MLP, NodeType.MLP_AUTOENCODER_ERROR
    ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR = auto(), _BY_CHANNEL, _ATTN, NodeType.ATTENTION_AUTOENCODER_ERROR

    # Edges between one node (`DstConfig.node_index_for_attribution`) and every other.
    SINGLE_NODE_WRITE = auto(), _BY_CHANNEL
    SINGLE_NODE_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), _BY_TOKEN, None, None, _NEEDS_GRADIENT
    GRAD_OF_SINGLE_SUBNODE_ATTRIBUTION = auto(), _BY_CHANNEL, None, None, _NEEDS_GRADIENT
    ATTN_OUT_EDGE_ATTRIBUTION = auto(), _BY_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    MLP_OUT_EDGE_ATTRIBUTION = auto(), _BY_NEURON, _MLP, None, _NEEDS_GRADIENT
    ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION = auto(), _BY_LATENT, None, None, _NEEDS_GRADIENT
    TOKEN_OUT_EDGE_ATTRIBUTION = auto(), _BY_TOKEN, None, NodeType.TOKEN, _NEEDS_GRADIENT
    ATTN_QUERY_IN_EDGE_ATTRIBUTION = auto(), _BY_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    ATTN_KEY_IN_EDGE_ATTRIBUTION = auto(), _BY_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    ATTN_VALUE_IN_EDGE_ATTRIBUTION = auto(), _BY_PAIR_AND_HEAD, _ATTN, None, _NEEDS_GRADIENT
    MLP_IN_EDGE_ATTRIBUTION = auto(), _BY_NEURON, _MLP, None, _NEEDS_GRADIENT
    ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION = auto(), _BY_LATENT, None, None, _NEEDS_GRADIENT
    ATTN_QUERY_IN_EDGE_ACTIVATION = auto(), _BY_PAIR_AND_HEAD, _ATTN
    ATTN_KEY_IN_EDGE_ACTIVATION = auto(), _BY_PAIR_AND_HEAD, _ATTN
    MLP_IN_EDGE_ACTIVATION = auto(), _BY_NEURON, _MLP
    ONLINE_AUTOENCODER_IN_EDGE_ACTIVATION = auto(), _BY_LATENT

    # Token space.
    VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION = auto(), _BY_VOCABULARY_TOKEN

    def requires_grad_for_pass_type(self, pass_type: PassType) -> bool:
        """Whether the model's backward pass is needed: for gradients always, for values where they are made of them."""
        return pass_type is PassType.BACKWARD or self.needs_gradient

    @property
    def needs_trace_gradient(self) -> bool:
        """Whether the traced activation is differentiated locally, with respect to the residual stream before it."""
        return "_FINAL_ACTIVATION_RESIDUAL_GRAD" in self.name

    @property
    def has_no_layers(self) -> bool:
        """Whether there is one result for the model (layer None) and not one a layer."""
        return self in _TYPES_WITHOUT_LAYERS

    @property
    def is_raw_activation(self) -> bool:
        """Whether it is what one place of the forward pass, or of an online autoencoder, holds."""
        return self.name in ActivationLocationType.__members__

    @property
    def is_autoencoder_latent(self) -> bool:
        """Whether one entry belongs to an autoencoder's latent."""
        return self.node_type.is_autoencoder_latent

    @classmethod
    def from_activation_location_type(cls, place: ActivationLocationType) -> "DerivedScalarType":
        """The type that is the raw activation at `place`.

        Raises:
            InvalidRequestError: there is none (for the residual stream after a LayerNorm).
        """
        if place.name not in cls.__members__:
            choices = ", ".join(dst.to_activation_location_type().value for dst in cls if dst.is_raw_activation)
            raise InvalidRequestError(f"No derived scalar is the raw activation at {place.value}; there is: {choices}.")
        return cls[place.name]

    def to_activation_location_type(self) -> ActivationLocationType:
        """The place whose raw activation it is.

        Raises:
            InvalidRequestError: it is computed from activations, and is none itself.
        """
        if not self.is_raw_activation:
            raise InvalidRequestError(
                f"{self.value} is computed from activations, and is not the activation of one place."
            )
        return ActivationLocationType[self.name]

    def update_from_autoencoder_node_type(self, node_type: NodeType | None) -> "DerivedScalarType":
        """The same scalar of the autoencoder whose latents are `node_type`, to tell two autoencoders apart.

        AUTOENCODER_LATENT becomes MLP_AUTOENCODER_LATENT for NodeType.MLP_AUTOENCODER_LATENT, and so on. A type that is
        of no autoencoder, is of a certain one already, or has no form of its own for each, stays as it is.
        """
        prefix = _AUTOENCODER_PREFIX_BY_NODE_TYPE.get(node_type) if node_type is not None else None
        if prefix is None:
            return self
        for generic in ("ONLINE_AUTOENCODER_", "AUTOENCODER_"):
            if self.name.startswith(generic):
                specific = self.name.replace("AUTOENCODER_", f"{prefix}_AUTOENCODER_", 1)
                return DerivedScalarType.__members__.get(specific, self)
        return self


_AUTOENCODER_PREFIX_BY_NODE_TYPE = {
    NodeType.MLP_AUTOENCODER_LATENT: "MLP",
    NodeType.ATTENTION_AUTOENCODER_LATENT: "ATTENTION",
}

_TYPES_WITHOUT_LAYERS = frozenset(
    {
        DerivedScalarType.LOGITS,
        DerivedScalarType.RESID_FINAL_LAYER_NORM_SCALE,
        DerivedScalarType.ALWAYS_ONE,
        DerivedScalarType.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION,
        *(dst for dst in DerivedScalarType if dst.name.startswith(("RESID_POST_EMBEDDING", "TOKEN_"))),
    }
)
