"""Which node a trace is of: where a name says no token, the one with the largest total effect."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.nodes_given import NodeOrRow, known_latent, node_named
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.tables.groups import Group, entries, groups_of
from neuron_explainer.attribution.tables.write_norms import WriteNorms
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.routed import Neurons, values_of
from neuron_explainer.vocabulary.checks import checked_layer
from neuron_explainer.vocabulary.nodes import NodeType

NodeOfTrace = NodeOrRow


def node_at_tokens(why: AttributionTables, given: NodeOfTrace) -> NodeName:
    """The node that a caller means, at its tokens.

    Raises:
        NodeNameError, InvalidIndexError: it cannot be read.
        InvalidRequestError: it is not one head, neuron or latent among the nodes of the answer, or a head attends to a
            later token.
    """
    name = known_latent(why.asked_setting, node_named(given, why.effects[0].prompt.token_strings))
    if name.kind not in COMPONENTS or name.layer is None or not isinstance(name.component, int):
        raise InvalidRequestError(f"{name} has no activation to trace. Give one head, neuron or latent, such as L23H3.")
    model = why.model
    checked_layer(name.layer, model.n_layers, model.model_name)
    group = _group_of(why, name)
    token, attended_to = name.token_index, name.attended_to_index
    if token is not None and attended_to is not None and attended_to > token:
        raise InvalidRequestError(
            f"{name}: token {name.token_index} cannot attend to the later token {name.attended_to_index}."
        )
    n_components, component = group.total.shape[-1], name.component
    if isinstance(component, int) and component >= n_components:
        raise InvalidRequestError(f"{name}: the layer has {n_components} of these. Choose 0 to {n_components - 1}.")
    if name.token_index is not None and (name.kind is not NodeKind.HEAD or name.attended_to_index is not None):
        return name
    return _with_largest_effect(group, name)


def node_type_of(why: AttributionTables, name: NodeName) -> NodeType:
    """The type of a head, neuron or latent; of a latent that of the only autoencoders, unless it is named."""
    return name.to_node_index().node_type


def _group_of(why: AttributionTables, name: NodeName) -> Group:
    node_type = node_type_of(why, name)
    effects = why.effects[0]
    groups = list(groups_of(effects, WriteNorms(why.asked_setting.config, effects), only_parts=False))
    for group in groups:
        if group.layer == name.layer and group.node_type is node_type:
            return group
    others = sorted({group.node_type.value for group in groups if group.layer == name.layer})
    raise InvalidRequestError(
        f"{name} is not among the nodes of this answer. Layer {name.layer} has: {', '.join(others) or 'none'}."
    )


def _with_largest_effect(group: Group, name: NodeName) -> NodeName:
    """The token, or pair, at which the total effect is largest; where all are 0, the activation."""
    by_token = _of_component(group.total, int(name.component)).abs()  # type: ignore[arg-type]
    if not bool(by_token.any()):
        by_token = _of_component(group.activation, int(name.component)).abs()  # type: ignore[arg-type]
    if name.kind is not NodeKind.HEAD:
        return replace(name, token=int(by_token.argmax()))
    allowed = torch.ones_like(by_token, dtype=torch.bool).tril()
    if name.token_index is not None:
        allowed[: name.token_index] = False
        allowed[name.token_index + 1 :] = False
    if name.attended_to_index is not None:
        allowed[:, : name.attended_to_index] = False
        allowed[:, name.attended_to_index + 1 :] = False
    best = int(by_token.masked_fill(~allowed, -1).argmax())
    return replace(name, token=best // by_token.shape[1], attended_to=best % by_token.shape[1])


def _of_component(numbers: Neurons, component: int) -> Tensor:
    """One component's numbers at all tokens."""
    n_tokens = len(values_of(numbers))
    if isinstance(numbers, Tensor):
        return numbers[..., component]
    tokens = torch.arange(n_tokens, dtype=torch.int64, device=numbers.device)
    return entries(numbers, (tokens, torch.full_like(tokens, component)))
