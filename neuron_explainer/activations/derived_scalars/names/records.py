"""Which record is meant, where a layer and a number are taken, and a name in their place."""

from collections.abc import Iterable
from typing import SupportsIndex, TypeAlias, TypeGuard, get_args

from neuron_explainer.activations.derived_scalars.names.fields import NodeFields
from neuron_explainer.activations.derived_scalars.names.grammar import read_name
from neuron_explainer.activations.derived_scalars.names.kinds import (
    NodeKind,
    autoencoder_of_node_type,
    kind_of_node_type,
)
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName, is_row_of_node
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

LayerOrNode: TypeAlias = SupportsIndex | NodeGiven
"""A layer, beside the number of a component in it; or a node in the place of both."""


def is_node(layer: object) -> TypeGuard[NodeGiven]:
    """Whether what is given as a layer is a node's name or index, or a table's row. A layer may be a number as text.

    >>> is_node("L2N5"), is_node("2"), is_node(2)
    (True, False, False)
    """
    if isinstance(layer, str):
        return not layer.lstrip("-").isdigit()
    return isinstance(layer, get_args(NodeGiven)) or is_row_of_node(layer)


_USUAL = {NodeKind.HEAD: DerivedScalarType.ATTN_WRITE_NORM.value, NodeKind.NEURON: DerivedScalarType.MLP_POST_ACT.value}
"""What records of components are usually of."""


def record_asked(
    node: NodeGiven, dst: DerivedScalarType, others: Iterable[DerivedScalarType] = ()
) -> tuple[int, int, DerivedScalarType]:
    """The layer, the number and the derived scalar type of the record of a node; its tokens do not matter.

    Args:
        node: a name (`2:5` means a component of `dst`), or an index.
        dst: the type of the records, if it fits the node.
        others: more types to choose from, the best first.

    Raises:
        NodeNameError: a text is not a node's name.
        InvalidIndexError: it is not one head, neuron or latent.
        InvalidRequestError: none of the types is of such components.

    >>> record_asked("L2N5", DerivedScalarType.MLP_POST_ACT)[:2]
    (2, 5)
    """
    if isinstance(node, str):
        name = NodeName(**read_name(node, kind_of_pair=kind_of_node_type(dst.node_type)).fields)
    else:
        name = NodeName.of(node)
    component = name.to_neuron_id()
    types = list(dict.fromkeys([dst, *others]))
    for each in types:
        if _fits(name, each):
            return component.layer_index, component.neuron_index, each
    listed = ", ".join(each.value for each in types)
    such = f', such as dst="{_USUAL[name.kind]}"' if name.kind in _USUAL else ""
    raise InvalidRequestError(
        f"{name} is {name.kind.meaning}, but the records here are of {listed}. Give another dst{such}."
    )


def _fits(name: NodeFields, dst: DerivedScalarType) -> bool:
    autoencoders = {name.autoencoder, autoencoder_of_node_type(dst.node_type)} - {None}
    return kind_of_node_type(dst.node_type) is name.kind and len(autoencoders) < 2
