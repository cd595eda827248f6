"""Which patches a picture shows, and where: positions or components in rows, layers or nodes in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from neuron_explainer.views.heatmap import excerpt_around

if TYPE_CHECKING:
    from neuron_explainer.experiments.patching.patching import Patching
    from neuron_explainer.experiments.patching.sites import PatchedNode

T = TypeVar("T")
_Column = tuple[int | None, int | None]
"""A layer, and a component of it where nodes have a position too."""


@dataclass(frozen=True)
class PatchMap:
    """The cells of a picture.

    Attributes:
        of_positions: whether rows are positions; else they are components, or there is only one row.
        rows: the positions or components that are shown, in order; None: all of them at once.
        columns: the columns that are shown, in order.
        rows_are, columns_are: what the labels of rows and of columns say: "token", "head", "layer:head"; empty of one
            row or column that is all there is.
        cells: the number of the node in each row and column.
        note: what is left out, in words; empty if nothing is.
    """

    of_positions: bool
    rows: Sequence[int | None]
    columns: Sequence[_Column]
    rows_are: str
    columns_are: str
    cells: dict[tuple[int | None, _Column], int]
    note: str

    @property
    def column_labels(self) -> list[str]:
        """What the columns are called: "3", or "3:5" of a component of a layer."""
        return [":".join(str(part) for part in column if part is not None) or "the model" for column in self.columns]


def map_of_patches(found: Patching, most_rows: int, most_columns: int) -> PatchMap:
    """The cells of a picture of at most so many rows, and columns of components; the strongest are shown.

    Args:
        found: the result.
        most_rows: of more positions, those around the strongest are shown; of more components, the strongest.
        most_columns: of more components in columns, the strongest are shown; layers are all shown.
    """
    of_positions = "position" in found.request.by
    places = [_place(node, of_positions) for node in found.nodes]
    cells = {place: number for number, place in enumerate(places)}
    by_strength = [places[number] for number in found.strongest.tolist()]
    rows = sorted({row for row, _ in places}, key=_or_first)
    columns = sorted({column for _, column in places}, key=lambda column: [_or_first(part) for part in column])
    left_out = []
    if len(rows) > most_rows:
        if of_positions:
            peak = by_strength[0][0] or 0
            shown = list(excerpt_around(peak, len(rows), most_rows).positions)
            left_out.append(f"positions {shown[0]}–{shown[-1]} of {len(rows)}, around the strongest")
            rows = [row for row in rows if row in set(shown)]
        else:
            left_out.append(f"the strongest {most_rows} of {len(rows):,} {_component(found)}s")
            rows = sorted(_first_of((row for row, _ in by_strength), most_rows), key=_or_first)
    if len(columns) > most_columns and any(component is not None for _, component in columns):
        left_out.append(f"the strongest {most_columns} of {len(columns):,} {_component(found)}s")
        kept = set(_first_of((column for _, column in by_strength), most_columns))
        columns = [column for column in columns if column in kept]
    by = found.request.by
    components = [axis for axis in by if axis not in ("layer", "position")]
    rows_are = "token" if of_positions else "".join(components)
    columns_are = ":".join(axis for axis in by if axis == "layer" or (of_positions and axis in components))
    return PatchMap(of_positions, rows, columns, rows_are, columns_are, cells, "; ".join(left_out))


def _place(node: PatchedNode, of_positions: bool) -> tuple[int | None, _Column]:
    if of_positions:
        return node.position, (node.layer, node.component)
    return node.component, (node.layer, None)


def _component(found: Patching) -> str:
    return next((axis for axis in found.request.by if axis not in ("layer", "position")), "component")


def _or_first(number: int | None) -> int:
    return -1 if number is None else number


def _first_of(several: Iterable[T], most: int) -> list[T]:
    """The first different ones."""
    return list(islice(dict.fromkeys(several), most))
