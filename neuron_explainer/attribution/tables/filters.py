"""Which nodes a table holds, from what a caller says."""

from collections.abc import Iterable, Sequence
from typing import SupportsIndex, cast

from neuron_explainer.activations.derived_scalars.names.kinds import KindGiven, NodeKind, kind_given, kind_of_node_type
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.question.positions import PositionsGiven, read_positions
from neuron_explainer.attribution.tables.nodes import NodeFilter
from neuron_explainer.errors import UnknownNameError
from neuron_explainer.vocabulary.checks import checked_layer, checked_layers
from neuron_explainer.vocabulary.nodes import NodeType


def node_filter(
    effects: Sequence[Effects],
    kinds: KindGiven | Iterable[KindGiven] | None,
    layers: SupportsIndex | Iterable[SupportsIndex] | None,
    tokens: PositionsGiven,
) -> NodeFilter:
    """The filter.

    Raises:
        UnknownNameError: a kind does not exist.
        InvalidRequestError: a layer or token is out of range.
    """
    return NodeFilter(_node_types(kinds), _layers(effects, layers), _positions(effects, tokens))


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
    longest = max((each.prompt for each in effects), key=lambda prompt: len(prompt.token_ids))
    return read_positions(tokens, longest.token_strings, "tokens")
