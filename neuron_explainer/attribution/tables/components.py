"""Tables of whole components: each head, neuron or latent, its effects summed over tokens and passes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.tables.groups import Group
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    import pandas

EFFECTS = ("direct_effect", "total_effect")


def component_table(
    groups: Sequence[Sequence[Group]],
    effects: Sequence[Effects],
    coefficients: Sequence[float],
    kinds: Collection[NodeType],
    by: str,
    n: int | None,
) -> pandas.DataFrame:
    """The n components (None: all) of some kinds whose effect is largest in magnitude, largest first.

    Its columns are name, layer, component, direct_effect and total_effect; its index is the NodeIndex of each, at all
    tokens.
    """
    from neuron_explainer.attribution.tables.nodes import table_of_nodes

    sums = _summed(groups, effects, coefficients, kinds)
    ranked: list[tuple[float, NodeType, int | None, int]] = []
    for (kind, layer), columns in sums.items():
        measure = columns[by].nan_to_num()
        best = measure.abs().topk(len(measure) if n is None else min(n, len(measure))).indices
        ranked += [
            (abs(value), kind, layer, number)
            for value, number in zip(measure[best].tolist(), best.tolist(), strict=True)
        ]
    ranked.sort(key=lambda each: -each[0])
    rows: list[dict[str, Any]] = []
    nodes: list[NodeIndex] = []
    for _, kind, layer, number in ranked[:n]:
        node = whole_node(kind, layer, number)
        columns = sums[kind, layer]
        nodes.append(node)
        rows.append(
            {
                "name": str(NodeName.of(node)),
                "layer": layer,
                "component": number,
                **{effect: float(columns[effect][number]) for effect in EFFECTS},
            }
        )
    return table_of_nodes(rows, nodes, ["name", "layer", "component", *EFFECTS])


def whole_node(kind: NodeType, layer: int | None, component: int) -> NodeIndex:
    """A component at all tokens."""
    tokens = ("All", "All") if kind is NodeType.ATTENTION_HEAD else ("All",)
    return NodeIndex(kind, layer, (*tokens, component))


def _summed(
    groups: Sequence[Sequence[Group]],
    effects: Sequence[Effects],
    coefficients: Sequence[float],
    kinds: Collection[NodeType],
) -> dict[tuple[NodeType, int | None], dict[str, Tensor]]:
    """Each component's effects over all tokens and passes, on the CPU, in double precision."""
    sums: dict[tuple[NodeType, int | None], dict[str, Tensor]] = {}
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
