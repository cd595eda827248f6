"""Direct effects of all heads: a coloured cell for each, layers from left to right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import GRID, grid_name, node_mark, section
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import INK, MUTED, PAPER
from neuron_explainer.views.heatmap import format_value, legend
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    import pandas

_TITLE = "Direct effects of heads"
_LABEL_STYLE = f"background-color:{PAPER};color:{MUTED};padding:0 1px;font-size:10px;font-weight:normal;line-height:1.3"


def head_map(heads: pandas.DataFrame) -> str:
    """The map; empty if no head has a direct effect.

    Args:
        heads: a table of heads, as an answer gives it.
    """
    names = zip(heads["layer"], heads["component"], heads["name"], heads["direct_effect"], strict=True)
    by_place = {
        (int(layer), int(component)): (str(name), float(effect))
        for layer, component, name, effect in names
        if not math.isnan(effect)
    }
    if not by_place:
        return ""
    scale = ColourScale.of(effect for _, effect in by_place.values())
    layers = sorted({layer for layer, _ in by_place})
    components = sorted({component for _, component in by_place})
    head = "".join(f'<th style="{_LABEL_STYLE};text-align:center;min-width:13px">{layer}</th>' for layer in layers)
    rows = [f'<tr style="background-color:{PAPER}"><th style="{_LABEL_STYLE};text-align:right">head</th>{head}</tr>']
    for component in components:
        cells = "".join(_cell(by_place.get((layer, component)), scale) for layer in layers)
        label = f'<th scope="row" style="{_LABEL_STYLE};text-align:right">{component}</th>'
        rows.append(f'<tr style="background-color:{PAPER}">{label}{cells}</tr>')
    style = f"background-color:{PAPER};color:{INK}"
    table = f'<table {GRID} {grid_name(_TITLE)} class="ne-pairs" style="{style}">{"".join(rows)}</table>'
    return section(
        _TITLE,
        f'{legend(scale)}<div style="overflow-x:auto">{table}</div>',
        "layers from left to right, summed over tokens",
    )


def _cell(head: tuple[str, float] | None, scale: ColourScale) -> str:
    if head is None:
        return "<td></td>"
    name, effect = head
    hover = f"{escaped(name)}: {format_value(effect)}"
    return f'<td {node_mark(name)} bgcolor="{scale.background(effect)}" title="{hover}"></td>'
