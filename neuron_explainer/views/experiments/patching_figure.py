"""What patching found, as a plotly heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from neuron_explainer.views.colour import plotly_colour_scale
from neuron_explainer.views.experiments.patch_map import map_of_patches
from neuron_explainer.views.experiments.patching_page import patching_html, said_of_patch, scale_of_patches
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.token_text import escaped, plotly_label

if TYPE_CHECKING:
    from neuron_explainer.experiments.patching.patching import Patching

_MOST_ROWS, _MOST_COLUMNS = 256, 64


def patching_figure(found: Patching) -> go.Figure:
    """A heatmap of changes of the score: tokens or layers on the x axis, layers or components on the y axis.

    Args:
        found: the result. Of over 256 components the strongest are shown, and of over 256 tokens those around the
            strongest node.
    """
    shown, scale = map_of_patches(found, _MOST_ROWS, _MOST_COLUMNS), scale_of_patches(found)
    numbers = [[shown.cells.get((row, column)) for row in shown.rows] for column in shown.columns]
    changes = np.array([[np.nan if each is None else found.changes[each] for each in line] for line in numbers])
    said = [["" if each is None else escaped(said_of_patch(found, each)) for each in line] for line in numbers]
    rows, columns = _row_labels(found, shown.of_positions, shown.rows), shown.column_labels
    x, y, z, text = rows, columns, changes, np.array(said)
    if not shown.of_positions:  # layers from left to right, where there are no tokens
        x, y, z, text = columns, rows, changes.T, text.T
    limit, is_signed = scale.limit or 1.0, scale.low < 0
    heatmap = go.Heatmap(
        z=z,
        customdata=text,
        zmin=-limit if is_signed else 0.0,
        zmax=limit,
        colorscale=plotly_colour_scale(is_signed),
        hoverongaps=False,
        colorbar={"title": "change"},
        hovertemplate="%{customdata}<extra></extra>",
    )
    request = found.request
    title = f"Patching {request.at} ({request.method.value}, {request.direction.value}): change of the score"
    axes = (shown.rows_are, shown.columns_are) if shown.of_positions else (shown.columns_are, shown.rows_are)
    figure = SnapshotFigure(heatmap, snapshot=patching_html(found))
    figure.update_xaxes(title=axes[0], tickmode="array", tickvals=list(range(len(x))), ticktext=x)
    figure.update_yaxes(title=axes[1], tickmode="array", tickvals=list(range(len(y))), ticktext=y)
    if shown.note:
        title += f"<br><sub>{escaped(shown.note)}</sub>"
    height = min(max(170 + 20 * len(y), 300), 1600)
    return figure.update_layout(template="plotly_white", title=title, height=height)


def _row_labels(found: Patching, of_positions: bool, rows: Sequence[int | None]) -> list[str]:
    clean, corrupted = found.clean.token_strings, found.corrupted.token_strings
    labels = []
    for row in rows:
        if not of_positions or row is None:
            labels.append("all" if row is None else str(row))
        else:
            other = "" if clean[row] == corrupted[row] else f" / {plotly_label(corrupted[row])}"
            labels.append(plotly_label(clean[row]) + other + (" …" if found.varies_at(row) else ""))
    return labels
