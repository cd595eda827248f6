"""The places of a forward pass, and of the autoencoders that may run within it."""

from enum import StrEnum

from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NODE_TYPE_BY_LAST_DIMENSION, LocationWithinLayer, NodeType


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
            NODE_TYPE_BY_LAST_DIMENSION[self.shape[-1]]
            if self not in _NODE_TYPE_BY_PLACE
            else _NODE_TYPE_BY_PLACE[self]
        )


_TOKENS = Dimension.SEQUENCE_TOKENS
_TO_TOKENS = Dimension.ATTENDED_TO_SEQUENCE_TOKENS
_HEADS = Dimension.ATTN_HEADS
_RESIDUAL = Dimension.RESIDUAL_STREAM_CHANNELS
_PLACE = ActivationLocationType

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
