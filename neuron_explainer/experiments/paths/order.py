"""Which node writes before which one reads, in every family."""

from __future__ import annotations

from typing import Any

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.errors import InvalidRequestError, NodeNameError, shown
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import check_covered, checked_layer

OF_ATTENTION = (NodeKind.HEAD, NodeKind.ATTENTION)
OF_MLP = (NodeKind.NEURON, NodeKind.MLP)


def writes_at(node: NodeName) -> int:
    """When a node writes to the residual stream: -1 the embedding, then attention and MLP of each layer in turn."""
    if node.layer is None:
        return -1
    return 2 * node.layer + (node.kind in OF_MLP)


def reads_before(node: NodeName, model: Transformer) -> int:
    """A node reads what is written before this time; see `writes_at`. Without a layer it is the end of the model."""
    if node.layer is None:
        return 2 * model.config.n_layers
    is_parallel = model.blocks[node.layer].parallel_residual
    return 2 * node.layer + (node.kind in OF_MLP and not is_parallel)


def node_on_path(given: Any, role: str, forms: str) -> NodeName:
    """The name of a node that sends or receives.

    Args:
        given: what the caller gave.
        role: "sender" or "receiver".
        forms: what can be given, in words.

    Raises:
        NodeNameError, InvalidIndexError: it names no node. A plain word, such as 'resid', is told of the forms.
    """
    try:
        return NodeName.of(given)
    except NodeNameError:
        if isinstance(given, str) and given.strip().isalpha():
            raise NodeNameError.saying(f"{shown(given)} is not a {role}. Choose one of: {forms}.", given) from None
        raise


def check_exists(node: NodeName, model: Transformer) -> None:
    """Refuse a head or neuron that the model does not have.

    Raises:
        InvalidRequestError: there is no such layer, head or neuron.
    """
    if node.layer is None:
        return
    checked_layer(node.layer, model.config.n_layers, "The model")
    if isinstance(node.component, int):
        size = model.config.n_heads if node.kind is NodeKind.HEAD else model.config.d_mlp
        check_covered(node.kind.value, node.component, range(size), f"Layer {node.layer}", InvalidRequestError)
