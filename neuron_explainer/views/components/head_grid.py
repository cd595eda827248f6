"""A grid of heads: a coloured cell for each, layers from left to right."""

from __future__ import annotations

from collections.abc import Mapping

from neuron_explainer.views.attribution.cells import GRID, grid_name, node_mark
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import INK, MUTED, PAPER
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped

_LABEL_STYLE = f"background-color:{PAPER};color:{MUTED};padding:0 1px;font-size:10px;font-weight:normal;line-height:1.3"


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
    head = "".join(f'<th style="{_LABEL_STYLE};text-align:center;min-width:13px">{layer}</th>' for layer in layers)
    rows = [f'<tr style="background-color:{PAPER}"><th style="{_LABEL_STYLE};text-align:right">head</th>{head}</tr>']
    for component in components:
        cells = "".join(_cell(heads.get((layer, component)), scale, marked) for layer in layers)
        label = f'<th scope="row" style="{_LABEL_STYLE};text-align:right">{component}</th>'
        rows.append(f'<tr style="background-color:{PAPER}">{label}{cells}</tr>')
    style = f"background-color:{PAPER};color:{INK}"
    table = f'<table {GRID} {grid_name(title)} class="ne-pairs" style="{style}">{"".join(rows)}</table>'
    return f'<div style="overflow-x:auto">{table}</div>'


def _cell(head: tuple[str, float] | None, scale: ColourScale, marked: str) -> str:
    if head is None:
        return "<td></td>"
    name, number = head
    hover = f"{escaped(name)}: {format_value(number)}"
    frame = f' style="outline:2px solid {INK};outline-offset:-1px"' if name == marked else ""
    return f'<td {node_mark(name)} bgcolor="{scale.background(number)}"{frame} title="{hover}"></td>'
