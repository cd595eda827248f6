"""What people call the components of each derived scalar: neuron, attention head, latent."""

from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_KIND_BY_NODE_TYPE = {
    NodeType.MLP_NEURON: "neuron",
    NodeType.ATTENTION_HEAD: "attention head",
    NodeType.AUTOENCODER_LATENT: "latent",
    NodeType.MLP_AUTOENCODER_LATENT: "latent",
    NodeType.ATTENTION_AUTOENCODER_LATENT: "latent",
    NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR: "latent",
}


def component_kind(dst: DerivedScalarType) -> str:
    """The display name of the kind of component: "neuron", "attention head", "latent", or else "component".

    >>> component_kind(DerivedScalarType.ATTN_WRITE_NORM)
    'attention head'
    """
    return _KIND_BY_NODE_TYPE.get(dst.node_type, "component")
