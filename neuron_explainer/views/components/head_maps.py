"""Scores of all heads of a model, as pictures of layers × heads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.views.attribution.cells import section
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.head_grid import head_grid
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import legend
from neuron_explainer.views.plots import colours_of_scale
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    import pandas

_SHOWN = ("previous", "duplicate", "induction", "first", "copying")
_PLACE = ("name", "layer", "component")
ABOUT_SCORES = {
    "previous": "attention to the token before",
    "duplicate": "attention to earlier occurrences of the token",
    "induction": "attention to the tokens after earlier occurrences",
    "self": "attention to the token itself",
    "first": "attention to the first token",
    "entropy": "of the pattern, in nats",
    "distance": "how many tokens back, on average",
    "distance_spread": "standard deviation of how many tokens back",
    "copying": "eigenvalues of the OV circuit: 1 if all are positive",
}


def plot_heads(scores: pandas.DataFrame, column: str = "induction") -> go.Figure:
    """A plotly figure of layers × heads, one cell for each head.

    Args:
        scores: a table of heads, as `ne.head_scores` gives it, or any with the columns name, layer and component.
        column: the column that is shown.

    Raises:
        UnknownNameError: the table has no such column.
        InvalidRequestError: it is not a table of heads, or the column holds no numbers.

    >>> import neuron_explainer as ne
    >>> figure = ne.plot_heads(ne.head_scores("tiny", n_sequences=2, length=8, progress=False), "previous")
    """
    heads = _heads(scores, column)
    values = np.full(
        (max(component for _, component in heads) + 1, max(layer for layer, _ in heads) + 1), np.nan, dtype=np.float64
    )
    names = np.full(values.shape, "", dtype=object)
    for (layer, component), (name, value) in heads.items():
        values[component, layer], names[component, layer] = value, name
    scale = ColourScale.of(value for _, value in heads.values())
    figure = go.Figure(
        go.Heatmap(
            z=values,
            customdata=names,
            colorscale=colours_of_scale(scale),
            zmin=scale.low,
            zmax=scale.high if scale.limit else 1.0,
            hoverongaps=False,
            hovertemplate="%{customdata}: %{z:.4g}<extra></extra>",
        )
    )
    figure.update_layout(
        template="plotly_white",
        title=_title(column),
        xaxis={"title": "layer", "dtick": 1},
        yaxis={"title": "head", "dtick": 1, "autorange": "reversed"},
        height=max(260, 120 + 24 * len(values)),
    )
    return SnapshotFigure(figure, card(_map(scores, column)))


def head_maps_html(scores: pandas.DataFrame, marked: str = "") -> str:
    """The scores that people look at first, each as a map of layers × heads, on one card.

    Args:
        scores: a table of heads.
        marked: the name of a head that has a frame.
    """
    columns = [name for name in _SHOWN if name in scores.columns and not scores[name].isna().all()]
    if not set(_PLACE) <= set(scores.columns) or not columns or not len(scores):
        return ""  # a selection of columns
    about = [scores.attrs.get("model"), scores.attrs.get("texts")]
    tokens = scores.attrs.get("n_tokens")
    about.append(None if tokens is None else f"{tokens:,} tokens")
    facts = " · ".join(escaped(str(each)) for each in about if each)
    maps = "".join(
        f'<div style="flex:0 1 auto;min-width:0;max-width:100%">{_map(scores, name, marked)}</div>' for name in columns
    )
    return card(
        '<div style="font-size:16px"><b>Attention heads</b></div>'
        f'<div style="color:{MUTED};font-size:12px">{facts}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:0 32px">{maps}</div>',
        "ne-heads",
    )


def _map(scores: pandas.DataFrame, column: str, marked: str = "") -> str:
    heads = _heads(scores, column)
    scale = ColourScale.of(value for _, value in heads.values())
    return section(
        column, legend(scale) + head_grid(heads, scale, _title(column), marked), ABOUT_SCORES.get(column, ""), space=12
    )


def _title(column: str) -> str:
    about = ABOUT_SCORES.get(column)
    return column if about is None else f"{column}: {about}"


def _heads(scores: pandas.DataFrame, column: str) -> dict[tuple[int, int], tuple[str, float]]:
    """The name and number of each head that has one, by layer and head."""
    if not set(_PLACE) <= set(getattr(scores, "columns", ())):
        raise InvalidRequestError(f"{shown(scores, 80)} is not a table of heads, as ne.head_scores gives it.")
    choices = [name for name in scores.columns if name not in _PLACE]
    if column not in choices:
        raise UnknownNameError("column of heads", str(column), choices)
    rows = zip(scores["layer"], scores["component"], scores["name"], scores[column], strict=True)
    try:
        heads = {
            (int(layer), int(component)): (str(name), float(value))
            for layer, component, name, value in rows
            if not math.isnan(value)
        }
    except (TypeError, ValueError):
        raise InvalidRequestError(f"The column {column} does not hold numbers of heads.") from None
    if not heads:
        raise InvalidRequestError(f"The column {column} has no numbers.")
    return heads
