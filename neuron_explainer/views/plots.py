"""plotly figures of records, for notebooks. They need no network, and only the front end's own renderer.

Each figure contains static HTML of the same data, for front ends without plotly.
"""

import numpy as np
import plotly.graph_objects as go

from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.components.statistics.histograms import histogram_of
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import N_LEVELS, ColourScale
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import token_heatmap
from neuron_explainer.views.record_page import record_title
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.statistics import histogram_bars
from neuron_explainer.views.token_pairs import checked_example, pair_view
from neuron_explainer.views.token_text import escaped, plotly_label
from neuron_explainer.vocabulary.checks import checked_type

_TEMPLATE = "plotly_white"
_LINE = {"color": MUTED, "width": 1}


def plot_histogram(record: NeuronRecord) -> go.Figure:
    """A plotly histogram of a record's activations, on a logarithmic axis, with lines at the quantile boundaries.

    A record without a histogram is counted over its random examples; the axis title says which.

    Raises:
        InvalidRequestError: the record has neither a histogram nor random examples, or is not a NeuronRecord.

    >>> import neuron_explainer as ne
    >>> figure = ne.plot_histogram(ne.load_neuron("tiny", 2, 5))
    """
    shown = histogram_of(checked_type("record", record, NeuronRecord))
    if shown is None:
        raise InvalidRequestError(f"{record!r} has no histogram, and no random examples to make one from.")
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
        title=record_title(record),
        xaxis_title="activation",
        yaxis={"title": shown.counted, "type": "log"},
        bargap=0,
        height=340,
    )
    heading = f"<div><b>{escaped(record_title(record))}</b></div>"
    return SnapshotFigure(figure, card(heading + histogram_bars(record, scale)))


def plot_example(example: ActivationRecord) -> go.Figure:
    """A plotly figure of one example: a bar per token, or the matrix (attended from, attended to) of token pairs.

    Raises:
        InvalidRequestError: the example has no tokens, or is not an ActivationRecord.

    >>> import neuron_explainer as ne
    >>> record = ne.load_neuron("tiny", 2, 5)
    >>> figure = ne.plot_example(record.most_positive_activation_records[0])
    """
    if not checked_example(example).tokens:
        raise InvalidRequestError("The example has no tokens, so there is nothing to plot.")
    labels = [plotly_label(token) for token in example.tokens]
    positions = list(range(len(labels)))
    ticks = {"tickmode": "array", "tickvals": positions, "ticktext": labels}
    scale = ColourScale.of(example.activations)
    if example.is_by_token_pair:
        heatmap = go.Heatmap(
            z=unflatten(example.activations, len(labels)),
            colorscale=colours_of_scale(scale),
            zmin=scale.low,
            zmax=scale.high if scale.limit else 1.0,
            hoverongaps=False,
            hovertemplate="%{y} attends to %{x}: %{z:.4g}<extra></extra>",
        )
        figure = go.Figure(heatmap)
        figure.update_layout(yaxis={"autorange": "reversed", "title": "attended from", **ticks}, height=620)
        figure.update_layout(template=_TEMPLATE, xaxis={"title": "attended to", **ticks})
        return SnapshotFigure(figure, pair_view(example, scale=scale))
    bars = go.Bar(
        x=positions,
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


def colours_of_scale(scale: ColourScale) -> list[list[float | str]]:
    """The colours from the scale's lowest to its highest value, in plotly's form."""
    shares = [step / (2 * N_LEVELS) for step in range(2 * N_LEVELS + 1)]
    return [[share, scale.background(scale.low + share * (scale.high - scale.low))] for share in shares]
