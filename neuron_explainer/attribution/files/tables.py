"""The tables of earlier answers, as records of JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.files.layout import NodeRow, PartRow
from neuron_explainer.attribution.tables.nodes import frame_of_nodes
from neuron_explainer.attribution.tables.parts import frame_of_parts

if TYPE_CHECKING:
    import pandas


def records_of(table: pandas.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table of parts or nodes. What is missing is None; in columns of floats it stays NaN."""
    is_float = [dtype.kind == "f" for dtype in table.dtypes]
    absent = table.isna().to_numpy().tolist()
    return [
        {
            str(column): None if is_absent and not stays else value
            for (column, value), is_absent, stays in zip(row.items(), lacks, is_float, strict=True)
        }
        for row, lacks in zip(table.to_dict("records"), absent, strict=True)
    ]


def parts_from(rows: Sequence[PartRow]) -> pandas.DataFrame:
    """The table of parts that gave the records."""
    return frame_of_parts([_present(row) for row in rows], _are_of_several(rows))


def nodes_from(rows: Sequence[NodeRow]) -> pandas.DataFrame:
    """The table of nodes that gave the records.

    Raises:
        NodeNameError, InvalidIndexError: a name is not that of a node.
    """
    nodes = [NodeName.parse(row.name).to_node_index() for row in rows]
    return frame_of_nodes([_present(row) for row in rows], nodes, _are_of_several(rows))


def _present(row: PartRow | NodeRow) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(row).items() if value is not msgspec.UNSET}


def _are_of_several(rows: Sequence[PartRow | NodeRow]) -> bool:
    """Whether they are of answers of several tokens."""
    return any(row.answer is not msgspec.UNSET for row in rows)
