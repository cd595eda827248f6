"""The kinds of component, where they are in a layer, and whether a tensor is an activation or a gradient."""

from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import NamedMembers


class PassType(NamedMembers):
    """Whether a tensor is an activation (FORWARD) or the gradient with respect to it (BACKWARD)."""

    FORWARD = "forward"
    BACKWARD = "backward"


class NodeType(NamedMembers):
    """The kinds of component that have an activation. Most of them write to the residual stream.

    >>> NodeType("mlp_autoencoder_latent").is_autoencoder_latent
    True
    """

    is_autoencoder_latent: bool
    """Whether the component is a latent, of any autoencoder."""

    def __new__(cls, value: str, is_autoencoder_latent: bool = False) -> "NodeType":
        """The member with that value. (The default is for members that are not latents.)"""
        member = str.__new__(cls, value)
        member._value_ = value
        member.is_autoencoder_latent = is_autoencoder_latent
        return member

    ATTENTION_HEAD = "attention_head"
    QK_CHANNEL = "qk_channel"
    V_CHANNEL = "v_channel"
    MLP_NEURON = "mlp_neuron"
    AUTOENCODER_LATENT = "autoencoder_latent", True
    """A latent of the only autoencoders given, whatever place they were trained on."""
    MLP_AUTOENCODER_LATENT = "mlp_autoencoder_latent", True
    ATTENTION_AUTOENCODER_LATENT = "attention_autoencoder_latent", True
    AUTOENCODER_LATENT_BY_TOKEN_PAIR = "autoencoder_latent_by_token_pair", True
    AUTOENCODER_ERROR = "autoencoder_error"
    MLP_AUTOENCODER_ERROR = "mlp_autoencoder_error"
    ATTENTION_AUTOENCODER_ERROR = "attention_autoencoder_error"
    RESIDUAL_STREAM_CHANNEL = "residual_stream_channel"
    LAYER = "layer"
    TOKEN = "token"
    VOCAB_TOKEN = "vocab_token"


class AttnSubNode(NamedMembers):
    """One of a head's three inputs: query, key or value."""

    Q = "attn.q"
    K = "attn.k"
    V = "attn.v"


class LocationWithinLayer(NamedMembers):
    """Where in a layer a quantity arises, in the order of a layer whose MLP comes after its attention.

    >>> LocationWithinLayer.ATTN < LocationWithinLayer.MLP
    True
    """

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


NODE_TYPE_BY_LAST_DIMENSION: dict[Dimension, NodeType] = {
    Dimension.ATTN_HEADS: NodeType.ATTENTION_HEAD,
    Dimension.MLP_ACTS: NodeType.MLP_NEURON,
    Dimension.AUTOENCODER_LATENTS: NodeType.AUTOENCODER_LATENT,
    Dimension.RESIDUAL_STREAM_CHANNELS: NodeType.RESIDUAL_STREAM_CHANNEL,
    Dimension.VOCAB_SIZE: NodeType.VOCAB_TOKEN,
    Dimension.SINGLETON: NodeType.LAYER,
}
"""The kind of component that an entry belongs to, by the last axis, unless a row of the vocabulary says otherwise."""
