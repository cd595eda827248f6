"""The head, neuron or latent of an answer that a caller means, and its numbers."""

from __future__ import annotations

from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.nodes_given import NodeOrRow, latent_of, node_named
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.tables.filters import check_component
from neuron_explainer.attribution.tables.groups import Group, groups_of
from neuron_explainer.attribution.tables.write_norms import WriteNorms
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.checks import checked_layer


def component_given(why: AttributionTables, given: NodeOrRow, to_do: str, number: int = 0) -> tuple[NodeName, Group]:
    """The name of a head, neuron or latent, its tokens as positions, and the nodes of its layer that it is one of.

    Args:
        why: the answer.
        given: the node.
        to_do: what it lacks if it is of another kind, such as "activation to trace".
        number: the pass that it is in.

    Raises:
        NodeNameError, InvalidIndexError: it cannot be read.
        InvalidRequestError: it is not one head, neuron or latent among the nodes of the answer.
    """
    effects = why.effects[number]
    name = latent_of(why.setting, effects, node_named(given, effects.prompt.token_strings))
    if name.kind not in COMPONENTS or name.layer is None or not isinstance(name.component, int):
        raise InvalidRequestError(f"{name} has no {to_do}. Give one head, neuron or latent, such as L23H3.")
    if why.setting is not None:
        checked_layer(name.layer, why.model.n_layers, why.model.model_name)
    group = _group_of(why, name, number)
    check_component(name, group.total.shape[-1])
    return name, group


def all_groups(why: AttributionTables, number: int = 0) -> list[Group]:
    """The nodes of a pass by kind and layer, also those that an autoencoder stands for."""
    config, effects = None if why.setting is None else why.setting.config, why.effects[number]
    return list(groups_of(effects, WriteNorms(config, effects), only_parts=False))


def _group_of(why: AttributionTables, name: NodeName, number: int) -> Group:
    node_type, groups = name.to_node_index().node_type, all_groups(why, number)
    for group in groups:
        if group.layer == name.layer and group.node_type is node_type:
            return group
    others = sorted({group.node_type.value for group in groups if group.layer == name.layer})
    raise InvalidRequestError(
        f"{name} is not among the nodes of this answer. Layer {name.layer} has: {', '.join(others) or 'none'}."
    )
