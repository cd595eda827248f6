"""Tables of whole components: each head, neuron or latent, its effects summed over tokens and passes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.tables.columns import EFFECTS, NodeColumn
from neuron_explainer.attribution.tables.groups import Group
from neuron_explainer.errors import UnknownNameError, shown
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    import pandas

LATENT_TYPES = (NodeType.AUTOENCODER_LATENT, NodeType.MLP_AUTOENCODER_LATENT, NodeType.ATTENTION_AUTOENCODER_LATENT)
Sums = dict[tuple[NodeType, int | None], dict[str, Tensor]]
"""For each kind and layer the components' numbers by column, (components)."""


def effect_named(by: str) -> str:
    """The effect that a table is ranked by.

    Raises:
        UnknownNameError: it is neither effect.
    """
    try:
        effect = member_of(NodeColumn, by, "effect").value
    except UnknownNameError:
        effect = ""
    if effect not in EFFECTS:
        raise UnknownNameError("effect", shown(by), EFFECTS)
    return effect


def table_of_components(sums: Sums, by: str, n: int | None, columns: Sequence[str]) -> pandas.DataFrame:
    """The n components (None: all) whose number in a column is largest in magnitude, largest first.

    Its columns are name, layer, component and those given; its index is the NodeIndex of each, at all tokens.
    """
    from neuron_explainer.attribution.tables.nodes import table_of_nodes

    ranked: list[tuple[float, NodeType, int | None, int]] = []
    for (kind, layer), own in sums.items():
        measure = own[by].nan_to_num()
        best = measure.abs().topk(len(measure) if n is None else min(n, len(measure))).indices
        ranked += [
            (abs(value), kind, layer, number)
            for value, number in zip(measure[best].tolist(), best.tolist(), strict=True)
        ]
    ranked.sort(key=lambda each: -each[0])
    rows: list[dict[str, Any]] = []
    nodes: list[NodeIndex] = []
    for _, kind, layer, number in ranked[:n]:
        node, own = whole_node(kind, layer, number), sums[kind, layer]
        nodes.append(node)
        numbers = {column: float(own[column][number]) for column in columns}
        rows.append({"name": str(NodeName.of(node)), "layer": layer, "component": number, **numbers})
    return table_of_nodes(rows, nodes, ["name", "layer", "component", *columns])


def whole_node(kind: NodeType, layer: int | None, component: int) -> NodeIndex:
    """A component at all tokens."""
    tokens = ("All", "All") if kind is NodeType.ATTENTION_HEAD else ("All",)
    return NodeIndex(kind, layer, (*tokens, component))


def component_sums(
    groups: Sequence[Sequence[Group]],
    effects: Sequence[Effects],
    coefficients: Sequence[float],
    kinds: Collection[NodeType],
) -> Sums:
    """Each component's effects over all tokens and passes, on the CPU, in double precision."""
    sums: Sums = {}
    for own, of_pass, coefficient in zip(groups, effects, coefficients, strict=True):
        for group in own:
            if group.node_type not in kinds:
                continue
            total, direct = group.summed_total(), group.summed_direct()
            if direct is None:
                direct = torch.full_like(total, float("nan"))
            if group.node_type is NodeType.ATTENTION_HEAD and group.layer is not None:
                direct = direct + of_pass.attention[group.layer].as_set.sum(0)
            columns = sums.setdefault((group.node_type, group.layer), {})
            for effect, numbers in zip(EFFECTS, (direct, total), strict=True):
                precise = numbers.double().cpu() * coefficient
                columns[effect] = columns[effect] + precise if effect in columns else precise
    return sums
