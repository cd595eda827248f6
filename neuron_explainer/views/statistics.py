"""The statistics of a record, and the histogram of its activations."""

import math

from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.components.statistics.histograms import histogram_of
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import LINE, MUTED
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped

_HEIGHT = 72  # pixels of the tallest bar


def statistics_of(record: NeuronRecord) -> dict[str, float]:
    """The known statistics of a record, by display name."""
    statistics = {
        "max activation": record.max_activation,
        "mean": record.mean,
        "standard deviation": None if record.variance is None or record.variance < 0 else math.sqrt(record.variance),
        "skewness": record.skewness,
        "kurtosis": record.kurtosis,
        "active on": record.activation_frequency,
    }
    return {name: value for name, value in statistics.items() if value is not None}


def statistics_strip(record: NeuronRecord) -> str:
    """The statistics in a row, as HTML."""
    unit = "token pairs" if record.is_by_token_pair else "tokens"
    cells = []
    for name, value in statistics_of(record).items():
        shown = f"{value:.2%} of {unit}" if name == "active on" else format_value(value)
        hover = f' title="{_EXPLANATIONS[name]}"' if name in _EXPLANATIONS else ""
        cells.append(
            f'<div{hover} style="padding:0 18px 4px 0"><span style="color:{MUTED};font-size:12px">{name}</span><br>'
            f"<b>{shown}</b></div>"
        )
    return f'<div class="ne-statistics" style="display:flex;flex-wrap:wrap;margin:6px 0">{"".join(cells)}</div>'


_EXPLANATIONS = {
    "max activation": "the largest activation in the top examples",
    "skewness": "0 for a symmetric distribution; above 0 for a long tail of high activations",
    "kurtosis": "3 for a normal distribution; higher if extreme activations are more frequent",
    "active on": "the share of the corpus on which the activation is above 0",
}


def histogram_bars(record: NeuronRecord, scale: ColourScale) -> str:
    """The histogram as bars on a logarithmic scale, in the activations' colours; empty without a histogram."""
    shown = histogram_of(record)
    if shown is None or not any(shown.histogram.counts):
        return ""
    edges, counts = shown.histogram.edges, shown.histogram.counts
    tallest = math.log1p(max(counts))
    bars = []
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        height = max(1, round(_HEIGHT * math.log1p(count) / tallest)) if count else 0
        hover = f"{format_value(low)} to {format_value(high)}: {count:,} {shown.counted}"
        bars.append(
            f'<div title="{escaped(hover)}" style="flex:1 1 0;height:{height}px;min-width:2px;box-sizing:border-box;'
            f"background-color:{scale.background((low + high) / 2)};"
            f'border:{f"1px solid {MUTED}" if count else "0"}"></div>'
        )
    return (
        f'<div class="ne-histogram" style="max-width:520px;margin:6px 0 10px">'
        f'<div style="display:flex;align-items:flex-end;height:{_HEIGHT}px;border-bottom:1px solid {LINE}">'
        f"{''.join(bars)}</div>"
        f'<div style="display:flex;justify-content:space-between;gap:16px;color:{MUTED};font-size:12px">'
        f"<span>{format_value(edges[0])}</span> <span>{format_value(edges[-1])}</span></div>"
        f'<div style="color:{MUTED};font-size:12px">'
        f"activations on {sum(counts):,} {shown.counted} (counts on a log scale)</div></div>"
    )
