"""plotly figures of records, for notebooks; they need no network and no renderer but the front end's own.

Each carries static HTML that says the same, for where a notebook is read without plotly.
"""

import numpy as np
import plotly.graph_objects as go

from neuron_explainer.activations.activations import ActivationRecord, NeuronRecord
from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import N_LEVELS, ColourScale
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import token_heatmap
from neuron_explainer.views.record_page import component_name
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.statistics import histogram_bars, histogram_of
from neuron_explainer.views.token_pairs import pair_view
from neuron_explainer.views.token_text import escaped, token_label

_TEMPLATE = "plotly_white"
_LINE = {"color": MUTED, "width": 1}


def plot_histogram(record: NeuronRecord) -> go.Figure:
    """How often which activation was met, on a logarithmic axis, with lines at the quantile boundaries.

    A record that holds no histogram is counted over its random examples; the axis says which it is.

    Raises:
        InvalidRequestError: the record has neither a histogram nor random examples.
    """
    shown = histogram_of(record)
    if shown is None:
        raise InvalidRequestError(f"{record!r} has no histogram and no random examples to count.")
    edges = np.asarray(shown.histogram.edges)
    middles, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    scale = ColourScale.of(edges.tolist())
    bars = go.Bar(
        x=middles,
        y=shown.histogram.counts,
        width=widths,
        marker={
            "color": [scale.background(value) for value in middles.tolist()],
            "line": _LINE,
        },
        customdata=np.stack([edges[:-1], edges[1:]], axis=1),
        hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}: %{y:,}<extra></extra>",
    )
    figure = go.Figure(bars)
    for boundary in record.quantile_boundaries or ():
        figure.add_vline(x=boundary, line={"dash": "dot", **_LINE})
    figure.update_layout(
        template=_TEMPLATE,
        title=component_name(record),
        xaxis_title="activation",
        yaxis={"title": shown.counted, "type": "log"},
        bargap=0,
        height=340,
    )
    heading = f"<div><b>{escaped(component_name(record))}</b></div>"
    return SnapshotFigure(figure, card(heading + histogram_bars(record, scale)))


def plot_example(example: ActivationRecord) -> go.Figure:
    """One example: a bar for each token, or a matrix of who attends to whom where its values are of token pairs.

    Raises:
        InvalidRequestError: the example has no tokens.
    """
    if not example.tokens:
        raise InvalidRequestError("The example has no tokens.")
    labels = [escaped(token_label(token)) for token in example.tokens]  # plotly reads its labels as HTML
    places = list(range(len(labels)))
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": labels}
    scale = ColourScale.of(example.activations)
    if example.is_by_token_pair:
        heatmap = go.Heatmap(
            z=unflatten(example.activations, len(labels)),
            colorscale=_colour_scale(scale),
            zmin=scale.low,
            zmax=scale.high if scale.limit else 1.0,
            hoverongaps=False,
            hovertemplate="%{y} attends to %{x}: %{z:.4g}<extra></extra>",
        )
        figure = go.Figure(heatmap)
        figure.update_layout(yaxis={"autorange": "reversed", "title": "attends", **ticks}, height=620)
        figure.update_layout(template=_TEMPLATE, xaxis={"title": "is attended to", **ticks})
        return SnapshotFigure(figure, pair_view(example, scale=scale))
    bars = go.Bar(
        x=places,
        y=example.activations,
        customdata=labels,
        marker={
            "color": [scale.background(value) for value in example.activations],
            "line": _LINE,
        },
        hovertemplate="%{customdata} · position %{x}: %{y:.4g}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_layout(template=_TEMPLATE, xaxis=ticks, yaxis_title="activation", bargap=0, height=340)
    return SnapshotFigure(figure, token_heatmap(example.tokens, example.activations, scale=scale))


def _colour_scale(scale: ColourScale) -> list[list[float | str]]:
    """The colours from the scale's lowest to its highest value, as plotly takes them."""
    shares = [step / (2 * N_LEVELS) for step in range(2 * N_LEVELS + 1)]
    return [[share, scale.background(scale.low + share * (scale.high - scale.low))] for share in shares]
