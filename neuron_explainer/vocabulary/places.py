"""The places of a forward pass, and of the autoencoders that may run within it."""

from neuron_explainer.vocabulary import axes
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import NamedMembers
from neuron_explainer.vocabulary.nodes import NODE_TYPE_BY_LAST_DIMENSION, LocationWithinLayer, NodeType

_START = LocationWithinLayer.END_OF_PREV_LAYER
_ATTN = LocationWithinLayer.ATTN
_MIDDLE = LocationWithinLayer.RESID_POST_ATTN
_MLP = LocationWithinLayer.MLP
_END = LocationWithinLayer.END_OF_LAYER
_NO_LAYER = None

_MLP_LATENT = NodeType.MLP_AUTOENCODER_LATENT
_ATTN_LATENT = NodeType.ATTENTION_AUTOENCODER_LATENT
_MLP_ERROR = NodeType.MLP_AUTOENCODER_ERROR
_ATTN_ERROR = NodeType.ATTENTION_AUTOENCODER_ERROR


class ActivationLocationType(NamedMembers):
    """A place of the forward pass, or of an autoencoder that runs within it.

    Residual-stream places are before any normalisation unless the name says LAYER_NORM. A row holds the value, the
    axes, the location within the layer, the kind of component if the last axis does not tell it, and, for online
    autoencoders, the kind of their latents.

    >>> place = ActivationLocationType("mlp.post_act")
    >>> [dimension.value for dimension in place.shape], place.node_type.value
    (['sequence_tokens', 'mlp_acts'], 'mlp_neuron')
    """

    shape: tuple[Dimension, ...]
    """The axes for one prompt. A batched tensor has the batch before them."""
    location_within_layer: LocationWithinLayer | None
    """Where in its layer it arises; None for places without layers, and for latents of any autoencoder."""
    node_type: NodeType
    """The kind of component that one entry of the last axis belongs to."""
    has_no_layers: bool
    """Whether a model has it once (layer None), at its start or end, and not in every layer."""
    autoencoder_node_type: NodeType | None
    """The kind of latent of the online autoencoder that the place belongs to; None for places of the model itself."""
    is_autoencoder_error: bool
    """Whether it is what an online autoencoder leaves unexplained of its input."""

    def __new__(
        cls,
        value: str,
        shape: tuple[Dimension, ...] = (),
        location: LocationWithinLayer | None = None,
        node_type: NodeType | None = None,
        autoencoder_node_type: NodeType | None = None,
    ) -> "ActivationLocationType":
        """The member with that value and those properties. (Defaults are for type checkers, as in `Dimension`.)"""
        member = str.__new__(cls, value)
        member._value_ = value
        member.shape = shape
        member.location_within_layer = location
        member.node_type = node_type or NODE_TYPE_BY_LAST_DIMENSION[shape[-1]]
        # Latents of any autoencoder have no location of their own either, but they do have layers.
        member.has_no_layers = location is None and autoencoder_node_type is None
        member.autoencoder_node_type = autoencoder_node_type
        member.is_autoencoder_error = member.node_type in (_MLP_ERROR, _ATTN_ERROR)
        return member

    @property
    def is_online_autoencoder_place(self) -> bool:
        """Whether it exists only where an autoencoder runs within the forward pass."""
        return self.autoencoder_node_type is not None

    RESID_POST_EMBEDDING = "resid.post_emb", axes.CHANNELS, _NO_LAYER
    RESID_DELTA_ATTN = "resid.delta_attn", axes.CHANNELS, _ATTN
    RESID_POST_ATTN = "resid.post_attn", axes.CHANNELS, _MIDDLE
    RESID_DELTA_MLP = "resid.delta_mlp", axes.CHANNELS, _MLP
    RESID_POST_MLP = "resid.post_mlp", axes.CHANNELS, _END
    RESID_POST_MLP_LAYER_NORM = "resid.post_mlp_ln", axes.CHANNELS, _START
    """The residual stream after the LayerNorm before attention (named for the MLP of the previous layer)."""
    RESID_POST_ATTN_LAYER_NORM = "resid.post_attn_ln", axes.CHANNELS, _MIDDLE
    """The residual stream after the LayerNorm before the MLP."""
    RESID_POST_FINAL_LAYER_NORM = "resid.post_ln_f", axes.CHANNELS, _NO_LAYER
    MLP_INPUT_LAYER_NORM_SCALE = "mlp_ln.scale", axes.ONE, _MIDDLE
    ATTN_INPUT_LAYER_NORM_SCALE = "attn_ln.scale", axes.ONE, _START
    RESID_FINAL_LAYER_NORM_SCALE = "resid.ln_f.scale", axes.ONE, _NO_LAYER
    ATTN_QUERY = "attn.q", axes.HEADS_QK, _ATTN, NodeType.QK_CHANNEL
    ATTN_KEY = "attn.k", axes.HEADS_QK, _ATTN, NodeType.QK_CHANNEL
    ATTN_VALUE = "attn.v", axes.HEADS_V, _ATTN, NodeType.V_CHANNEL
    ATTN_QK_LOGITS = "attn.qk_logits", axes.PAIRS_HEADS, _ATTN
    ATTN_QK_PROBS = "attn.qk_probs", axes.PAIRS_HEADS, _ATTN
    ATTN_WEIGHTED_SUM_OF_VALUES = "attn.v_out", axes.HEADS_V, _ATTN, NodeType.V_CHANNEL
    MLP_PRE_ACT = "mlp.pre_act", axes.NEURONS, _MLP
    MLP_POST_ACT = "mlp.post_act", axes.NEURONS, _MLP
    LOGITS = "logits", axes.VOCABULARY, _NO_LAYER

    # Online autoencoders: they run within the forward pass.
    # fmt: off
    ONLINE_AUTOENCODER_LATENT = (
        "online_autoencoder_latent", axes.LATENTS, None, None, NodeType.AUTOENCODER_LATENT)
    ONLINE_MLP_AUTOENCODER_LATENT = (
        "online_mlp_autoencoder_latent", axes.LATENTS, _MLP, _MLP_LATENT, _MLP_LATENT)
    ONLINE_ATTENTION_AUTOENCODER_LATENT = (
        "online_attention_autoencoder_latent", axes.LATENTS, _ATTN, _ATTN_LATENT, _ATTN_LATENT)
    ONLINE_MLP_AUTOENCODER_ERROR = (
        "online_mlp_autoencoder_error", axes.NEURONS, _MLP, _MLP_ERROR, _MLP_LATENT)
    ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR = (
        "online_residual_mlp_autoencoder_error", axes.CHANNELS, _MLP, _MLP_ERROR, _MLP_LATENT)
    ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR = (
        "online_residual_attention_autoencoder_error", axes.CHANNELS, _ATTN, _ATTN_ERROR, _ATTN_LATENT)
    # fmt: on
