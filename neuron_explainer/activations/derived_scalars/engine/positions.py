"""Entries of `tensor_indices` that must be one position, as plain ints."""

from neuron_explainer.activations.derived_scalars.index_fields import TensorIndex
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex, TraceConfig
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.nodes import NodeType


def one_position(entry: TensorIndex) -> int:
    """The position that an entry names.

    Raises:
        InvalidRequestError: it names a whole axis.
    """
    if not isinstance(entry, int):
        raise InvalidRequestError("One position is needed here, not a whole axis.")
    return entry


def position_or_all(entry: TensorIndex) -> int | None:
    """The position that an entry names; None for a whole axis (given as "All" or None)."""
    return entry if isinstance(entry, int) else None


def component_of(index: NodeIndex | TraceConfig) -> int:
    """The number of the head, neuron or latent."""
    return one_position(index.tensor_indices[-1])


def pair_of(index: NodeIndex | TraceConfig) -> tuple[int, int]:
    """The tokens that a head attends from and to.

    Raises:
        InvalidRequestError: one of them is a whole axis, or the token attended to is the later one.
    """
    token, attended_to = map(one_position, index.tensor_indices[:2])
    if attended_to > token:
        raise InvalidRequestError(
            f"Token {token} cannot attend to the later token {attended_to}; tensor_indices are (from, to, head)."
        )
    return token, attended_to


def check_node(node: NodeIndex) -> None:
    """Refuse a node that is not one head, neuron or latent at one token (or pair of tokens).

    Raises:
        InvalidRequestError: the node is of another kind, names a whole axis, or attends to a later token.
    """
    is_known = node.node_type.is_autoencoder_latent or node.node_type in (NodeType.ATTENTION_HEAD, NodeType.MLP_NEURON)
    if not is_known or node.node_type is NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR:
        raise InvalidRequestError(f"Edges lead from or to a head, a neuron or a latent, not {node.node_type.value}.")
    if not node.is_one_number:
        raise InvalidRequestError(f"Edges lead from or to one component at one token, but {node} names a whole axis.")
    if node.node_type is NodeType.ATTENTION_HEAD:
        pair_of(node)
