"""Which nodes a table holds, from what a caller says."""

from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex, TypeAlias, cast

from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.kinds import KindGiven, NodeKind, kind_given, kind_of_node_type
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.computing.effects import Effects, longest_prompt
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.nodes_given import NodeOrRow, latent_of, node_named, one_or_several
from neuron_explainer.attribution.question.positions import PositionsGiven, read_positions
from neuron_explainer.attribution.tables.columns import NodeColumn
from neuron_explainer.attribution.tables.groups import Group
from neuron_explainer.attribution.tables.nodes import NodeFilter
from neuron_explainer.errors import InvalidRequestError, UnknownNameError
from neuron_explainer.vocabulary.checks import checked_layer, checked_layers
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import NodeType

NamesGiven: TypeAlias = "NodeOrRow | Iterable[NodeOrRow] | None"
"""Nodes by name, or as indices or rows of a table; None for all."""


def node_filter(
    effects: Sequence[Effects],
    kinds: KindGiven | Iterable[KindGiven] | None,
    layers: SupportsIndex | Iterable[SupportsIndex] | None,
    tokens: PositionsGiven,
    names: NamesGiven = None,
    *,
    groups: Sequence[Group] = (),
    setting: Setting | None = None,
) -> NodeFilter:
    """The filter.

    Args:
        effects: the passes of the answer.
        kinds, layers, tokens, names: what is taken; None for all.
        groups: the groups of the first pass, for `names`.
        setting: the model with its autoencoders, if it is there.

    Raises:
        UnknownNameError: a kind does not exist, or a name cannot be read.
        InvalidRequestError: a layer, token or component is out of range; or a name is not that of a head, neuron,
            latent or embedding.
    """
    nodes = None if names is None else [_named(effects, each, groups, setting) for each in one_or_several(names)]
    return NodeFilter(_node_types(kinds), _layers(effects, layers), _positions(effects, tokens), nodes)


def columns_given(by: Any) -> list[str]:
    """The columns that a table is ranked by, each once.

    Raises:
        InvalidRequestError: there are none.
        UnknownNameError: a column does not exist.
    """
    several = list(by) if isinstance(by, Iterable) and not isinstance(by, str) else [by]
    if not several:
        raise InvalidRequestError("by is an empty list. Name at least one column, such as total_effect.")
    return list(dict.fromkeys(member_of(NodeColumn, each, "column of nodes").value for each in several))


def _node_types(kinds: KindGiven | Iterable[KindGiven] | None) -> set[NodeType] | None:
    if kinds is None:
        return None
    several = kinds if isinstance(kinds, Iterable) and not isinstance(kinds, str) else [kinds]
    wanted = {_kind(kind) for kind in several}
    return {node_type for node_type in NodeType if kind_of_node_type(node_type) in wanted}


def _kind(given: object) -> NodeKind:
    """A kind of node that a table can hold."""
    try:
        kind = kind_given(cast("KindGiven", given))
    except UnknownNameError:
        kind = None
    if kind not in _KINDS:
        raise UnknownNameError("kind of node", given, [str(each.value) for each in _KINDS])
    return kind


_KINDS = (NodeKind.HEAD, NodeKind.NEURON, NodeKind.LATENT, NodeKind.EMBEDDING)


def _named(effects: Sequence[Effects], given: NodeOrRow, groups: Sequence[Group], setting: Setting | None) -> NodeIndex:
    """A node, at all tokens unless its name says one."""
    name = latent_of(setting, effects[0], node_named(given, longest_prompt(effects).token_strings))
    if name.kind not in _KINDS or (name.kind is not NodeKind.EMBEDDING and not isinstance(name.component, int)):
        raise InvalidRequestError(f"{name} is not a head, neuron, latent or embedding. {_TO_NAME_MORE}")
    if name.layer is not None:
        _layers(effects, name.layer)
    node = name.to_node_index()
    group = next((each for each in groups if (each.node_type, each.layer) == (node.node_type, node.layer_index)), None)
    if group is not None:
        check_component(name, group.total.shape[-1])
    return node


_TO_NAME_MORE = "Write L23H3, L26N1262@7 or EMB@3; for a whole layer or kind write layers=… or kinds=…."


def check_component(name: NodeName, n_components: int) -> None:
    """Refuse a head, neuron or latent that the layer does not have.

    Raises:
        InvalidRequestError: the layer has fewer.
    """
    if isinstance(name.component, int) and name.component >= n_components:
        raise InvalidRequestError(f"{name}: the layer has {n_components} of these. Choose 0 to {n_components - 1}.")


def _layers(
    effects: Sequence[Effects], layers: SupportsIndex | Iterable[SupportsIndex] | None
) -> set[int | None] | None:
    if layers is None:
        return None
    known = {layer for each in effects for layer in (*each.attention, *each.mlp, *(own for _, own in each.latents))}
    return {
        checked_layer(layer, max(known, default=-1) + 1, "the answer") for layer in checked_layers("layers", layers)
    }


def _positions(effects: Sequence[Effects], tokens: PositionsGiven) -> tuple[int, ...] | None:
    if tokens is None:
        return None
    return read_positions(tokens, longest_prompt(effects).token_strings, "tokens")
