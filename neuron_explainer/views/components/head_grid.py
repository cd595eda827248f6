"""A grid of heads: a coloured cell for each, layers from left to right."""

from __future__ import annotations

from collections.abc import Mapping

from neuron_explainer.views.attribution.cells import node_mark
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import INK
from neuron_explainer.views.experiments.map_table import label_of_row, map_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped


def head_grid(
    heads: Mapping[tuple[int, int], tuple[str, float]], scale: ColourScale, title: str, marked: str = ""
) -> str:
    """The grid as HTML; it scrolls within itself where it is too wide.

    Args:
        heads: the name and the number of each head, by layer and head.
        scale: the colours.
        title: what the grid shows, for screen readers; text.
        marked: the name of a head that has a frame.
    """
    layers = sorted({layer for layer, _ in heads})
    components = sorted({component for _, component in heads})
    rows = (
        (
            label_of_row(str(component)),
            "".join(_cell(heads.get((layer, component)), scale, marked) for layer in layers),
        )
        for component in components
    )
    return map_table(title, "head", "layer", [str(layer) for layer in layers], rows)


def _cell(head: tuple[str, float] | None, scale: ColourScale, marked: str) -> str:
    if head is None:
        return "<td></td>"
    name, number = head
    hover = f"{escaped(name)}: {format_value(number)}"
    frame = f' style="outline:2px solid {INK};outline-offset:-1px"' if name == marked else ""
    return f'<td {node_mark(name)} bgcolor="{scale.background(number)}"{frame} title="{hover}"></td>'
