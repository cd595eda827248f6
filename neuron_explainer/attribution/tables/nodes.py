"""The node table: heads at pairs of tokens, neurons, latents and embeddings at tokens, with their effects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.store.top_k import top_k
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.inquiry import Inquiry
from neuron_explainer.attribution.tables.columns import COLUMNS, EFFECTS
from neuron_explainer.attribution.tables.groups import Group, entries
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, values_of
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class RankedNode:
    """One node of one pass.

    Attributes:
        number: the pass.
        node: the node.
        measure: the number that it was ranked by, times the pass's coefficient.
    """

    number: int
    node: NodeIndex
    measure: float


@dataclass(frozen=True)
class NodeFilter:
    """Which nodes a table holds; None stands for all."""

    kinds: Collection[NodeType] | None = None
    layers: Collection[int | None] | None = None
    tokens: Sequence[int] | None = None
    nodes: Sequence[NodeIndex] | None = None

    def takes(self, group: Group) -> bool:
        """Whether nodes of a group can be among them."""
        return (
            (self.kinds is None or group.node_type in self.kinds)
            and (self.layers is None or group.layer in self.layers)
            and (self.nodes is None or bool(self.nodes_in(group)))
        )

    def nodes_in(self, group: Group) -> list[NodeIndex]:
        """Those of `nodes` that are in a group."""
        return [
            node for node in self.nodes or () if (node.node_type, node.layer_index) == (group.node_type, group.layer)
        ]


def ranked_nodes(
    groups: Sequence[Sequence[Group]], coefficients: Sequence[float], by: str, n: int, chosen: NodeFilter
) -> list[RankedNode]:
    """The n nodes of all passes whose number in a column is largest in magnitude, largest first.

    Args:
        groups: the groups of each pass.
        coefficients: what each pass's effects are multiplied with.
        by: a column of `COLUMNS`.
        n: how many; fewer come back if there are fewer. Nodes whose number is 0 are left out.
        chosen: which nodes are taken.

    Raises:
        MisconfiguredError: the column needs the model, which is not there.
    """
    found: list[RankedNode] = []
    for number, (own, coefficient) in enumerate(zip(groups, coefficients, strict=True)):
        factor = factor_of(by, coefficient)
        tensors = list(_candidates(own, by, chosen))
        if not tensors:
            continue
        for largest in (True, False):
            ranked = top_k([values_of(numbers) for _, numbers, _ in tensors], n, largest)
            places = zip(
                ranked.values.tolist(), ranked.tensor.tolist(), ranked.row.tolist(), ranked.column.tolist(), strict=True
            )
            for value, which, row, column in places:
                if (value > 0) is largest and value:
                    group, numbers, tokens = tensors[which]
                    found.append(RankedNode(number, _node_at(group, numbers, tokens[row], row, column), value * factor))
    found.sort(key=lambda each: -abs(each.measure))
    return found[:n]


def _candidates(groups: Sequence[Group], by: str, chosen: NodeFilter) -> Iterator[tuple[Group, Neurons, list[int]]]:
    """The numbers of a column by group, for the tokens that are taken, and what token each row is of."""
    for group in groups:
        numbers = group.to_rank(by) if chosen.takes(group) else None
        if numbers is None or not values_of(numbers).numel():
            continue
        tokens = list(group.rows) if by == "direct_effect" else list(range(len(values_of(numbers))))
        if chosen.tokens is not None:
            rows = [row for row, token in enumerate(tokens) if token in chosen.tokens]
            if not rows:
                continue
            where: Any = torch.tensor(rows, dtype=torch.int64, device=values_of(numbers).device)
            numbers, tokens = numbers[where], [tokens[row] for row in rows]
        if chosen.nodes is not None:
            numbers = _only(numbers, tokens, chosen.nodes_in(group))
        yield group, numbers, tokens


def _only(numbers: Neurons, tokens: Sequence[int], nodes: Sequence[NodeIndex]) -> Neurons:
    """The numbers of some nodes, each at all tokens or at some; 0 for all others."""
    values = values_of(numbers)
    is_asked = torch.zeros_like(values, dtype=torch.bool)
    for node in nodes:
        token, *others = node.tensor_indices
        if any(isinstance(each, int) and each >= size for each, size in zip(others, numbers.shape[1:], strict=True)):
            continue  # it attends to a token that this pass does not have
        rows: Any = slice(None) if token == "All" else [row for row, own in enumerate(tokens) if own == token]
        if isinstance(numbers, RoutedTensor):
            expert, within = divmod(int(others[0]), numbers.d_expert)  # type: ignore[arg-type]
            is_asked[rows, :, within] |= numbers.experts[rows] == expert
        else:
            is_asked[(rows, *(slice(None) if each == "All" else each for each in others))] = True
    asked = torch.where(is_asked, values, torch.zeros_like(values))
    return numbers.with_values(asked) if isinstance(numbers, RoutedTensor) else asked


def _node_at(group: Group, numbers: Neurons, token: int, row: int, column: int) -> NodeIndex:
    if isinstance(numbers, RoutedTensor):
        column = numbers.column(row, column)
    others = [int(entry) for entry in np.unravel_index(column, numbers.shape[1:])]
    return NodeIndex(group.node_type, group.layer, (token, *others))


def node_rows(
    groups: Sequence[Group], nodes: Sequence[NodeIndex], effects: Effects, coefficient: float
) -> list[dict[str, Any]]:
    """The table's rows of some nodes of one pass, in their order."""
    columns = {column: _numbers_of(groups, nodes, column) for column in COLUMNS}
    tokens = [without_steering(token) for token in effects.prompt.token_strings]
    return [
        {
            "name": str(NodeName.of(node)),
            "token": _token(tokens, node.tensor_indices[0]),
            "attended_to": _token(tokens, node.tensor_indices[1]) if _has_pair(node) else None,
            "activation": None if node.node_type is NodeType.TOKEN else columns["activation"][place],
            "write_norm": columns["write_norm"][place],
            "direct_effect": columns["direct_effect"][place] * coefficient,
            "total_effect": columns["total_effect"][place] * coefficient,
        }
        for place, node in enumerate(nodes)
    ]


def by_several(
    groups: Sequence[Sequence[Group]],
    coefficients: Sequence[float],
    columns: Sequence[str],
    n: int,
    chosen: NodeFilter,
) -> list[RankedNode]:
    """The n nodes that `ranked_nodes` gives for each column, each once, by their number in the first column."""
    ranked = [ranked_nodes(groups, coefficients, column, n, chosen) for column in columns]
    if len(columns) == 1:
        return ranked[0]
    found = {(each.number, each.node): each for of_column in ranked for each in of_column}
    for number, (own, coefficient) in enumerate(zip(groups, coefficients, strict=True)):
        nodes = [node for of_pass, node in found if of_pass == number]
        factor = factor_of(columns[0], coefficient)
        for node, measure in zip(nodes, _numbers_of(own, nodes, columns[0]), strict=True):
            found[number, node] = RankedNode(number, node, measure * factor)
    return sorted(found.values(), key=lambda each: (each.measure != each.measure, -abs(each.measure)))  # NaN last


def factor_of(column: str, coefficient: float) -> float:
    """What a pass's numbers in a column are multiplied with: effects are those on the metric."""
    return coefficient if column in EFFECTS else 1.0


def direct_effects_of(groups: Sequence[Group], nodes: Sequence[NodeIndex]) -> list[float]:
    """The direct effects of some nodes of one pass."""
    return _numbers_of(groups, nodes, "direct_effect")


def _has_pair(node: NodeIndex) -> bool:
    return node.node_type is NodeType.ATTENTION_HEAD


def _token(tokens: Sequence[str], position: object) -> str | None:
    return tokens[position] if isinstance(position, int) else None


def _numbers_of(groups: Sequence[Group], nodes: Sequence[NodeIndex], column: str) -> list[float]:
    """One column's numbers of some nodes; NaN where other parts stand for a node, or nothing is known."""
    result = [float("nan")] * len(nodes)
    places: dict[tuple[NodeType, int | None], list[int]] = {}
    for place, node in enumerate(nodes):
        places.setdefault((node.node_type, node.layer_index), []).append(place)
    for group in groups:
        own = places.get((group.node_type, group.layer))
        numbers = group.numbers(column) if own else None
        if not own or numbers is None:
            continue
        indices = [list(map(int, nodes[place].tensor_indices)) for place in own]  # type: ignore[arg-type]
        row_of = {token: row for row, token in enumerate(group.rows)}
        if column == "direct_effect":  # it is 0 at all tokens but the rows
            known = [number for number, index in enumerate(indices) if index[0] in row_of]
            for place in own:
                result[place] = 0.0
            own = [own[number] for number in known]
            indices = [[row_of[indices[number][0]], *indices[number][1:]] for number in known]
        if own:
            found = entries(numbers, _index_tensors(indices, values_of(numbers)))
            for place, value in zip(own, found.tolist(), strict=True):
                result[place] = value
    return result


def _index_tensors(indices: Sequence[Sequence[int]], like: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(axis, dtype=torch.int64, device=like.device) for axis in zip(*indices, strict=True))


def node_table(
    groups: Sequence[Sequence[Group]], effects: Sequence[Effects], inquiry: Inquiry, ranked: Sequence[RankedNode]
) -> pandas.DataFrame:
    """The nodes of all passes as a DataFrame, in their order."""
    rows: dict[int, dict[str, Any]] = {}
    for number, (own_groups, of_pass, asked) in enumerate(zip(groups, effects, inquiry.passes, strict=True)):
        places = [place for place, each in enumerate(ranked) if each.number == number]
        own = node_rows(own_groups, [ranked[place].node for place in places], of_pass, asked.coefficient)
        for place, row in zip(places, own, strict=True):
            token = ranked[place].node.tensor_indices[0]
            rows[place] = {
                **row,
                "answer": asked.answer,
                "predicting_position": token if token in of_pass.rows else None,
            }
    return frame_of_nodes(
        [rows[place] for place in range(len(ranked))], [each.node for each in ranked], inquiry.is_by_answer
    )


def frame_of_nodes(rows: Sequence[dict[str, Any]], nodes: Sequence[NodeIndex], has_several: bool) -> pandas.DataFrame:
    """The rows as a DataFrame whose index is the nodes; those of several passes say of which."""
    if not has_several:
        return table_of_nodes(rows, nodes, _COLUMNS)
    table = table_of_nodes(rows, nodes, ["answer", "predicting_position", *_COLUMNS])
    return table.astype({"predicting_position": "Int64"})


_COLUMNS = ("name", "token", "attended_to", *COLUMNS)


def table_of_nodes(
    rows: Sequence[dict[str, Any]], nodes: Sequence[NodeIndex], columns: Sequence[str]
) -> pandas.DataFrame:
    """The rows as a DataFrame whose index is the nodes."""
    import pandas

    from neuron_explainer.activations.token_table import TokenTable

    index = pandas.Index(np.fromiter(nodes, dtype=object, count=len(nodes)), name="node", dtype=object)
    return TokenTable(list(rows), columns=list(columns), index=index)
