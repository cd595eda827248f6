"""Nodes as callers give them: names, indices, or rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName, parse_node

NodeOrRow: TypeAlias = "NodeGiven | Any"
"""A node's name, an index of it, or a row of a node table."""


def node_named(node: NodeOrRow, tokens: Sequence[str]) -> NodeName:
    """The node's name, its tokens as positions in a prompt.

    Raises:
        NodeNameError: it cannot be read, or the prompt has no such token, or several.
        InvalidIndexError: it is in none of the forms.
    """
    row_label = getattr(node, "name", None)  # a row of a table has its NodeIndex as its label
    if isinstance(row_label, NodeIndex):
        node = row_label
    return parse_node(node, tokens=tokens)
