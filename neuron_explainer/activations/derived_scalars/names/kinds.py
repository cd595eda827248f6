"""The kinds of node that a name can name."""

from typing import Literal, TypeAlias

from neuron_explainer.errors import UnknownNameError
from neuron_explainer.vocabulary.named_members import NamedMembers, member_of
from neuron_explainer.vocabulary.nodes import NodeType


class NodeKind(NamedMembers):
    """What a node is: a head, a neuron, a latent, a layer's MLP or attention, a place of the residual stream, ….

    >>> NodeKind("head").symbol, NodeKind.HEAD.example
    ('H', 'L23H3')
    """

    symbol: str
    """What stands for the kind in a name."""
    example: str
    meaning: str
    """What messages call such a node."""

    def __new__(cls, value: str, symbol: str = "", example: str = "", meaning: str = "") -> "NodeKind":
        """The member with that value. (The defaults let type checkers accept `NodeKind(value)`.)"""
        member = str.__new__(cls, value)
        member._value_ = value
        member.symbol, member.example, member.meaning = symbol, example, meaning
        return member

    HEAD = "head", "H", "L23H3", "an attention head"
    NEURON = "neuron", "N", "L26N1262", "an MLP neuron"
    LATENT = "latent", "A", "L5A102", "an autoencoder latent"
    MLP = "mlp", "MLP", "L5MLP", "a layer's MLP"
    ATTENTION = "attention", "ATTN", "L5ATTN", "a layer's attention"
    START = "resid_start", "START", "L5START", "the residual stream before a layer"
    MIDDLE = "resid_middle", "MID", "L5MID", "the residual stream after a layer's attention"
    RESIDUAL = "resid_end", "RESID", "L5RESID", "the residual stream after a layer"
    ERROR = "autoencoder_error", "ERR", "L5ERR", "an autoencoder's error"
    LAYER = "layer", "", "L5", "a layer"
    EMBEDDING = "embedding", "EMB", "EMB", "the embedding"
    VOCAB = "vocab_token", "V", "V1234", "a vocabulary token's logit"
    FINAL = "final_norm", "FINAL", "FINAL", "the final norm"
    MODEL = "model", "MODEL", "MODEL", "the whole model"

    @property
    def has_layer(self) -> bool:
        """Whether such a node is in a layer."""
        return self not in (NodeKind.EMBEDDING, NodeKind.VOCAB, NodeKind.FINAL, NodeKind.MODEL)

    @property
    def has_component(self) -> bool:
        """Whether such a node has a number of its own: a head, neuron, latent or vocabulary token."""
        return self in (*COMPONENTS, NodeKind.VOCAB)


COMPONENTS = (NodeKind.HEAD, NodeKind.NEURON, NodeKind.LATENT)
"""The kinds that a layer and a number name."""

KindGiven: TypeAlias = NodeKind | NodeType | str
"""A kind of node, or the type of a NodeIndex; or the name of either."""

_KIND_OF_NODE_TYPE = {
    NodeType.ATTENTION_HEAD: NodeKind.HEAD,
    NodeType.QK_CHANNEL: NodeKind.HEAD,
    NodeType.V_CHANNEL: NodeKind.HEAD,
    NodeType.MLP_NEURON: NodeKind.NEURON,
    NodeType.AUTOENCODER_LATENT: NodeKind.LATENT,
    NodeType.MLP_AUTOENCODER_LATENT: NodeKind.LATENT,
    NodeType.ATTENTION_AUTOENCODER_LATENT: NodeKind.LATENT,
    NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR: NodeKind.LATENT,
    NodeType.AUTOENCODER_ERROR: NodeKind.ERROR,
    NodeType.MLP_AUTOENCODER_ERROR: NodeKind.ERROR,
    NodeType.ATTENTION_AUTOENCODER_ERROR: NodeKind.ERROR,
    NodeType.TOKEN: NodeKind.EMBEDDING,
    NodeType.VOCAB_TOKEN: NodeKind.VOCAB,
}
"""The kind of a node type's nodes, where it is the same for all of them."""


_AUTOENCODER: dict[NodeType, Literal["mlp", "attn"]] = {
    NodeType.MLP_AUTOENCODER_LATENT: "mlp",
    NodeType.ATTENTION_AUTOENCODER_LATENT: "attn",
    NodeType.MLP_AUTOENCODER_ERROR: "mlp",
    NodeType.ATTENTION_AUTOENCODER_ERROR: "attn",
}


def autoencoder_of_node_type(node_type: NodeType) -> Literal["mlp", "attn"] | None:
    """What the nodes' autoencoder was trained on, if their type says it."""
    return _AUTOENCODER.get(node_type)


def kind_of_node_type(node_type: NodeType) -> NodeKind | None:
    """The kind of a type's nodes; None for layers and channels, whose place tells it.

    >>> kind_of_node_type(NodeType.MLP_AUTOENCODER_LATENT).value
    'latent'
    """
    return _KIND_OF_NODE_TYPE.get(node_type)


def kind_given(kind: KindGiven) -> NodeKind:
    """The kind that a caller names, itself or by a node type.

    Raises:
        UnknownNameError: it is neither a kind of node nor a node type.

    >>> kind_given("attention_head").value, kind_given("NEURON").value
    ('head', 'neuron')
    """
    try:
        return member_of(NodeKind, kind, "kind of node")
    except UnknownNameError:
        try:
            found = kind_of_node_type(member_of(NodeType, kind, "kind of node"))
        except UnknownNameError:
            found = None
        if found is None:
            raise
        return found
