"""Nodes as callers give them: names, indices, or rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName, parse_node

NodeOrRow: TypeAlias = "NodeGiven | Any"
"""A node's name, an index of it, or a row of a node table."""


def node_named(node: Any, tokens: Sequence[str]) -> NodeName:
    """The node's name, its tokens as positions in a prompt.

    Raises:
        NodeNameError: it cannot be read, or the prompt has no such token, or several.
        InvalidIndexError: it is in none of the forms.
    """
    if is_row(node):
        node = node.name
    return parse_node(node, tokens=tokens)


def is_row(node: Any) -> bool:
    """Whether it is a row of a node table: it has its NodeIndex as its label."""
    return isinstance(getattr(node, "name", None), NodeIndex)
