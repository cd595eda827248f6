"""The vocabulary of places: what a transformer computes on its way, where its weights are, what its parts are called.

Nothing here imports torch. The values are the strings that stand in saved files; they follow OpenAI's Transformer
Debugger, whose datasets and saved requests this library reads.
"""

from enum import StrEnum


class PassType(StrEnum):
    """Whether a tensor is an activation (FORWARD) or the gradient with respect to it (BACKWARD)."""

    FORWARD = "forward"
    BACKWARD = "backward"


class Dimension(StrEnum):
    """The axes that activations, weights and derived scalars have."""

    SEQUENCE_TOKENS = "sequence_tokens"
    ATTENDED_TO_SEQUENCE_TOKENS = "attended_to_sequence_tokens"
    SEQUENCE_TOKEN_PAIRS = "sequence_token_pairs"
    ATTN_HEADS = "attn_heads"
    QUERY_AND_KEY_CHANNELS = "query_and_key_channels"
    VALUE_CHANNELS = "value_channels"
    MLP_ACTS = "mlp_acts"
    RESIDUAL_STREAM_CHANNELS = "residual_stream_channels"
    VOCAB_SIZE = "vocab_size"
    MAX_CONTEXT_LENGTH = "max_context_length"
    AUTOENCODER_LATENTS = "autoencoder_latents"
    SINGLETON = "singleton"
    """An axis of length 1: one number where other scalars have one per component."""

    @property
    def is_sequence_token_dimension(self) -> bool:
        """Whether the axis runs over tokens, or pairs of them, and so depends on the prompt."""
        return self in (
            Dimension.SEQUENCE_TOKENS,
            Dimension.ATTENDED_TO_SEQUENCE_TOKENS,
            Dimension.SEQUENCE_TOKEN_PAIRS,
        )


class NodeType(StrEnum):
    """The kinds of component that have an activation and, most of them, write to the residual stream."""

    ATTENTION_HEAD = "attention_head"
    QK_CHANNEL = "qk_channel"
    V_CHANNEL = "v_channel"
    MLP_NEURON = "mlp_neuron"
    AUTOENCODER_LATENT = "autoencoder_latent"
    MLP_AUTOENCODER_LATENT = "mlp_autoencoder_latent"
    ATTENTION_AUTOENCODER_LATENT = "attention_autoencoder_latent"
    AUTOENCODER_LATENT_BY_TOKEN_PAIR = "autoencoder_latent_by_token_pair"
    AUTOENCODER_ERROR = "autoencoder_error"
    MLP_AUTOENCODER_ERROR = "mlp_autoencoder_error"
    ATTENTION_AUTOENCODER_ERROR = "attention_autoencoder_error"
    RESIDUAL_STREAM_CHANNEL = "residual_stream_channel"
    LAYER = "layer"
    TOKEN = "token"
    VOCAB_TOKEN = "vocab_token"

    @property
    def is_autoencoder_latent(self) -> bool:
        """Whether the node is an autoencoder's latent, whichever autoencoder it is."""
        return self in (
            NodeType.AUTOENCODER_LATENT,
            NodeType.MLP_AUTOENCODER_LATENT,
            NodeType.ATTENTION_AUTOENCODER_LATENT,
            NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR,
        )


class AttnSubNode(StrEnum):
    """Which of a head's three inputs is meant."""

    Q = "attn.q"
    K = "attn.k"
    V = "attn.v"


class LocationWithinLayer(StrEnum):
    """Where in a layer a quantity arises, in the order of a sequential layer."""

    END_OF_PREV_LAYER = "end_of_prev_layer"
    ATTN = "attn"
    RESID_POST_ATTN = "resid_post_attn"
    MLP = "mlp"
    END_OF_LAYER = "end_of_layer"

    def __lt__(self, other: str) -> bool:
        order = list(LocationWithinLayer)
        return order.index(self) < order.index(LocationWithinLayer(other))

    def __le__(self, other: str) -> bool:
        return self == other or self < other

    def __gt__(self, other: str) -> bool:
        return not self <= other

    def __ge__(self, other: str) -> bool:
        return not self < other


class ActivationLocationType(StrEnum):
    """The places of a forward pass, and those of the autoencoders that may run within it.

    Residual-stream places are before any normalisation unless the name says LAYER_NORM. `shape` gives each place's axes
    without the batch.
    """

    RESID_POST_EMBEDDING = "resid.post_emb"
    RESID_DELTA_ATTN = "resid.delta_attn"
    RESID_POST_ATTN = "resid.post_attn"
    RESID_DELTA_MLP = "resid.delta_mlp"
    RESID_POST_MLP = "resid.post_mlp"
    RESID_POST_MLP_LAYER_NORM = "resid.post_mlp_ln"
    """The residual stream after the LayerNorm that feeds attention (named for the MLP before it)."""
    RESID_POST_ATTN_LAYER_NORM = "resid.post_attn_ln"
    """The residual stream after the LayerNorm that feeds the MLP."""
    RESID_POST_FINAL_LAYER_NORM = "resid.post_ln_f"
    MLP_INPUT_LAYER_NORM_SCALE = "mlp_ln.scale"
    ATTN_INPUT_LAYER_NORM_SCALE = "attn_ln.scale"
    RESID_FINAL_LAYER_NORM_SCALE = "resid.ln_f.scale"
    ATTN_QUERY = "attn.q"
    ATTN_KEY = "attn.k"
    ATTN_VALUE = "attn.v"
    ATTN_QK_LOGITS = "attn.qk_logits"
    ATTN_QK_PROBS = "attn.qk_probs"
    ATTN_WEIGHTED_SUM_OF_VALUES = "attn.v_out"
    MLP_PRE_ACT = "mlp.pre_act"
    MLP_POST_ACT = "mlp.post_act"
    LOGITS = "logits"

    ONLINE_AUTOENCODER_LATENT = "online_autoencoder_latent"
    ONLINE_MLP_AUTOENCODER_LATENT = "online_mlp_autoencoder_latent"
    ONLINE_ATTENTION_AUTOENCODER_LATENT = "online_attention_autoencoder_latent"
    ONLINE_MLP_AUTOENCODER_ERROR = "online_mlp_autoencoder_error"
    ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR = "online_residual_mlp_autoencoder_error"
    ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR = "online_residual_attention_autoencoder_error"

    @property
    def has_no_layers(self) -> bool:
        """Whether there is one of it in a model (layer None), at its very start or end, and not one a layer."""
        return self in _PLACES_WITHOUT_LAYERS

    @property
    def is_online_autoencoder_place(self) -> bool:
        """Whether it exists only where an autoencoder runs within the forward pass."""
        return self.value.startswith("online_")

    @property
    def shape(self) -> tuple[Dimension, ...]:
        """Its axes for one prompt; a batched tensor has the batch before them."""
        return _SHAPE_BY_PLACE[self]

    @property
    def location_within_layer(self) -> LocationWithinLayer | None:
        """Where in its layer it arises; None for places without layers."""
        return _LOCATION_BY_PLACE.get(self)

    @property
    def node_type(self) -> NodeType:
        """What one entry of its last axis is the activation of."""
        return (
            _NODE_TYPE_BY_LAST_DIMENSION[self.shape[-1]]
            if self not in _NODE_TYPE_BY_PLACE
            else _NODE_TYPE_BY_PLACE[self]
        )


class WeightLocationType(StrEnum):
    """The weights that have a name in every family; `shape` gives each one's axes, heads first."""

    EMBEDDING = "embed"
    POSITION_EMBEDDING = "pos_embed"
    UNEMBEDDING = "unembed"
    ATTN_TO_QUERY = "attn.q_proj"
    ATTN_TO_KEY = "attn.k_proj"
    ATTN_TO_VALUE = "attn.v_proj"
    ATTN_TO_RESIDUAL = "attn.out_proj"
    MLP_TO_HIDDEN = "mlp.in_layer"
    MLP_TO_HIDDEN_UP = "mlp.up_layer"
    """The second input matrix of a gated MLP, whose output multiplies the activated gate; others have none."""
    MLP_TO_RESIDUAL = "mlp.out_layer"
    ATTN_INPUT_LAYER_NORM_GAIN = "attn_ln.gain"
    ATTN_INPUT_LAYER_NORM_BIAS = "attn_ln.bias"
    MLP_INPUT_LAYER_NORM_GAIN = "mlp_ln.gain"
    MLP_INPUT_LAYER_NORM_BIAS = "mlp_ln.bias"
    FINAL_LAYER_NORM_GAIN = "ln_f.gain"
    FINAL_LAYER_NORM_BIAS = "ln_f.bias"

    @property
    def has_no_layers(self) -> bool:
        """Whether a model has one of it, and not one a layer."""
        return self in (
            WeightLocationType.EMBEDDING,
            WeightLocationType.POSITION_EMBEDDING,
            WeightLocationType.UNEMBEDDING,
            WeightLocationType.FINAL_LAYER_NORM_GAIN,
            WeightLocationType.FINAL_LAYER_NORM_BIAS,
        )

    @property
    def shape(self) -> tuple[Dimension, ...]:
        """Its axes, inputs before outputs."""
        return _SHAPE_BY_WEIGHT[self]


_TOKENS = Dimension.SEQUENCE_TOKENS
_TO_TOKENS = Dimension.ATTENDED_TO_SEQUENCE_TOKENS
_HEADS = Dimension.ATTN_HEADS
_RESIDUAL = Dimension.RESIDUAL_STREAM_CHANNELS
_PLACE = ActivationLocationType
_WEIGHT = WeightLocationType

_PLACES_WITHOUT_LAYERS = frozenset(
    {
        _PLACE.RESID_POST_EMBEDDING,
        _PLACE.RESID_FINAL_LAYER_NORM_SCALE,
        _PLACE.RESID_POST_FINAL_LAYER_NORM,
        _PLACE.LOGITS,
    }
)

_SHAPE_BY_PLACE: dict[ActivationLocationType, tuple[Dimension, ...]] = {
    **{place: (_TOKENS, _RESIDUAL) for place in _PLACE if place.value.startswith("resid.")},
    _PLACE.MLP_INPUT_LAYER_NORM_SCALE: (_TOKENS, Dimension.SINGLETON),
    _PLACE.ATTN_INPUT_LAYER_NORM_SCALE: (_TOKENS, Dimension.SINGLETON),
    _PLACE.RESID_FINAL_LAYER_NORM_SCALE: (_TOKENS, Dimension.SINGLETON),
    _PLACE.ATTN_QUERY: (_TOKENS, _HEADS, Dimension.QUERY_AND_KEY_CHANNELS),
    _PLACE.ATTN_KEY: (_TOKENS, _HEADS, Dimension.QUERY_AND_KEY_CHANNELS),
    _PLACE.ATTN_VALUE: (_TOKENS, _HEADS, Dimension.VALUE_CHANNELS),
    _PLACE.ATTN_QK_LOGITS: (_TOKENS, _TO_TOKENS, _HEADS),
    _PLACE.ATTN_QK_PROBS: (_TOKENS, _TO_TOKENS, _HEADS),
    _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES: (_TOKENS, _HEADS, Dimension.VALUE_CHANNELS),
    _PLACE.MLP_PRE_ACT: (_TOKENS, Dimension.MLP_ACTS),
    _PLACE.MLP_POST_ACT: (_TOKENS, Dimension.MLP_ACTS),
    _PLACE.LOGITS: (_TOKENS, Dimension.VOCAB_SIZE),
    _PLACE.ONLINE_AUTOENCODER_LATENT: (_TOKENS, Dimension.AUTOENCODER_LATENTS),
    _PLACE.ONLINE_MLP_AUTOENCODER_LATENT: (_TOKENS, Dimension.AUTOENCODER_LATENTS),
    _PLACE.ONLINE_ATTENTION_AUTOENCODER_LATENT: (_TOKENS, Dimension.AUTOENCODER_LATENTS),
    _PLACE.ONLINE_MLP_AUTOENCODER_ERROR: (_TOKENS, Dimension.MLP_ACTS),
    _PLACE.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR: (_TOKENS, _RESIDUAL),
    _PLACE.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR: (_TOKENS, _RESIDUAL),
}

_LOCATION_BY_PLACE: dict[ActivationLocationType, LocationWithinLayer] = {
    _PLACE.RESID_POST_MLP_LAYER_NORM: LocationWithinLayer.END_OF_PREV_LAYER,
    _PLACE.ATTN_INPUT_LAYER_NORM_SCALE: LocationWithinLayer.END_OF_PREV_LAYER,
    **{place: LocationWithinLayer.ATTN for place in _PLACE if place.value.startswith("attn.")},
    _PLACE.RESID_DELTA_ATTN: LocationWithinLayer.ATTN,
    _PLACE.ONLINE_ATTENTION_AUTOENCODER_LATENT: LocationWithinLayer.ATTN,
    _PLACE.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR: LocationWithinLayer.ATTN,
    _PLACE.RESID_POST_ATTN: LocationWithinLayer.RESID_POST_ATTN,
    _PLACE.RESID_POST_ATTN_LAYER_NORM: LocationWithinLayer.RESID_POST_ATTN,
    _PLACE.MLP_INPUT_LAYER_NORM_SCALE: LocationWithinLayer.RESID_POST_ATTN,
    **{place: LocationWithinLayer.MLP for place in _PLACE if place.value.startswith("mlp.")},
    _PLACE.RESID_DELTA_MLP: LocationWithinLayer.MLP,
    _PLACE.ONLINE_MLP_AUTOENCODER_LATENT: LocationWithinLayer.MLP,
    _PLACE.ONLINE_MLP_AUTOENCODER_ERROR: LocationWithinLayer.MLP,
    _PLACE.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR: LocationWithinLayer.MLP,
    _PLACE.RESID_POST_MLP: LocationWithinLayer.END_OF_LAYER,
}

_NODE_TYPE_BY_PLACE: dict[ActivationLocationType, NodeType] = {
    _PLACE.ATTN_QUERY: NodeType.QK_CHANNEL,
    _PLACE.ATTN_KEY: NodeType.QK_CHANNEL,
    _PLACE.ATTN_VALUE: NodeType.V_CHANNEL,
    _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES: NodeType.V_CHANNEL,
    _PLACE.ONLINE_MLP_AUTOENCODER_LATENT: NodeType.MLP_AUTOENCODER_LATENT,
    _PLACE.ONLINE_ATTENTION_AUTOENCODER_LATENT: NodeType.ATTENTION_AUTOENCODER_LATENT,
    _PLACE.ONLINE_MLP_AUTOENCODER_ERROR: NodeType.MLP_AUTOENCODER_ERROR,
    _PLACE.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR: NodeType.MLP_AUTOENCODER_ERROR,
    _PLACE.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR: NodeType.ATTENTION_AUTOENCODER_ERROR,
}

_NODE_TYPE_BY_LAST_DIMENSION: dict[Dimension, NodeType] = {
    Dimension.ATTN_HEADS: NodeType.ATTENTION_HEAD,
    Dimension.MLP_ACTS: NodeType.MLP_NEURON,
    Dimension.AUTOENCODER_LATENTS: NodeType.AUTOENCODER_LATENT,
    Dimension.RESIDUAL_STREAM_CHANNELS: NodeType.RESIDUAL_STREAM_CHANNEL,
    Dimension.VOCAB_SIZE: NodeType.VOCAB_TOKEN,
    Dimension.SINGLETON: NodeType.LAYER,
}

_SHAPE_BY_WEIGHT: dict[WeightLocationType, tuple[Dimension, ...]] = {
    _WEIGHT.EMBEDDING: (Dimension.VOCAB_SIZE, _RESIDUAL),
    _WEIGHT.POSITION_EMBEDDING: (Dimension.MAX_CONTEXT_LENGTH, _RESIDUAL),
    _WEIGHT.UNEMBEDDING: (_RESIDUAL, Dimension.VOCAB_SIZE),
    _WEIGHT.ATTN_TO_QUERY: (_HEADS, _RESIDUAL, Dimension.QUERY_AND_KEY_CHANNELS),
    _WEIGHT.ATTN_TO_KEY: (_HEADS, _RESIDUAL, Dimension.QUERY_AND_KEY_CHANNELS),
    _WEIGHT.ATTN_TO_VALUE: (_HEADS, _RESIDUAL, Dimension.VALUE_CHANNELS),
    _WEIGHT.ATTN_TO_RESIDUAL: (_HEADS, Dimension.VALUE_CHANNELS, _RESIDUAL),
    _WEIGHT.MLP_TO_HIDDEN: (_RESIDUAL, Dimension.MLP_ACTS),
    _WEIGHT.MLP_TO_HIDDEN_UP: (_RESIDUAL, Dimension.MLP_ACTS),
    _WEIGHT.MLP_TO_RESIDUAL: (Dimension.MLP_ACTS, _RESIDUAL),
    **{weight: (_RESIDUAL,) for weight in _WEIGHT if weight.value.endswith((".gain", ".bias"))},
}
