"""Nodes as callers give them: names, indices, or rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from neuron_explainer.activations.derived_scalars.indices import NodeIndex
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind, autoencoder_of_node_type
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName, is_row_of_node, parse_node
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.passes import LATENTS, Setting
from neuron_explainer.attribution.inquiry import AskedPass
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.checks import is_several
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.wording import choices_sentence

NodeOrRow: TypeAlias = "NodeGiven | Any"
"""A node's name, an index of it, or a row of a node table."""


def node_named(node: Any, tokens: Sequence[str]) -> NodeName:
    """The node's name, its tokens as positions in a prompt.

    Raises:
        NodeNameError: it cannot be read, or the prompt has no such token, or several.
        InvalidIndexError: it is in none of the forms.
    """
    return parse_node(NodeName.of(node) if is_row_of_node(node) else node, tokens=tokens)


def one_or_several(node: Any) -> list[Any]:
    """Nodes in a list; a table of nodes stands for those of its rows, by their labels or by their `name`."""
    labels, columns = getattr(node, "index", None), getattr(node, "columns", None)
    if columns is not None and labels is not None:
        is_by_name = "name" in columns and not all(isinstance(label, NodeIndex) for label in labels)
        return list(node["name"] if is_by_name else labels)
    is_list = is_several(node) and not isinstance(node, str | Mapping) and not is_row_of_node(node)
    return list(node) if is_list else [node]


def pass_of_row(passes: Sequence[AskedPass], node: Any) -> int:
    """The number of the pass that a row of a table is of, by its `answer`; 0 of what says none."""
    answer = node.get("answer") if is_row_of_node(node) else None
    return next((number for number, asked in enumerate(passes) if answer is not None and asked.answer == answer), 0)


def known_latent(setting: Setting, name: NodeName) -> NodeName:
    """The name of a latent with its autoencoder where there are several, without it where there is one.

    Names of other kinds of nodes are given back as they are.

    Raises:
        InvalidRequestError: there are no autoencoders, or several and the name does not say which.
        MisconfiguredError: the only autoencoder is of another place.
    """
    if name.kind is not NodeKind.LATENT:
        return name
    config = setting.config
    several = config.multi_autoencoder_context if config.autoencoder_context is None else None
    if several is None:
        if config.get_autoencoder_context(name.to_node_index().node_type) is None:
            raise InvalidRequestError(
                f"{name} is a latent, and the question was asked without autoencoders. Pass them: autoencoders=…."
            )
        return replace(name, autoencoder=None)
    kinds = list(map(NodeType, several.autoencoder_context_by_node_type))
    if name.to_node_index().node_type not in kinds:
        choices = [str(replace(name, autoencoder=autoencoder_of_node_type(kind))) for kind in kinds]
        raise InvalidRequestError(
            f"There are several autoencoders, and {name} names none of them. {choices_sentence(choices)}"
        )
    return name


def latent_of(setting: Setting | None, effects: Effects, name: NodeName) -> NodeName:
    """`known_latent`, also in an answer that was read from a file without its model, whose latents tell.

    Raises:
        InvalidRequestError, MisconfiguredError: as `known_latent`.
    """
    if setting is not None:
        return known_latent(setting, name)
    is_only_one = LATENTS[NodeType.AUTOENCODER_LATENT][0] in effects.store
    return replace(name, autoencoder=None) if name.kind is NodeKind.LATENT and is_only_one else name
