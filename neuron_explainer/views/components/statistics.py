"""The statistics of a component: numbers, histogram, tokens, places in a text, quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import frame_html, section, side_by_side
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.record_page import scale_of
from neuron_explainer.views.statistics import histogram_bars, statistics_strip

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.statistics.of_component import ComponentStatistics

_N_TOKENS, _N_PLACES, _N_DISTANCES = 8, 8, 8


def component_statistics_html(statistics: ComponentStatistics) -> str:
    """The statistics of a component on a card of their own.

    Args:
        statistics: the statistics.
    """
    record = statistics.record
    content = statistics_strip(record) + histogram_bars(record, scale_of(record)) + statistics_sections(statistics)
    return card(content, "ne-statistics-of-component")


def statistics_sections(statistics: ComponentStatistics) -> str:
    """What a component's page has beside its record: tokens, places in a text, quantiles; of pairs, distances.

    Args:
        statistics: the statistics.
    """
    if not statistics.examples:
        return ""
    notes = [_state(statistics)]
    tokens = statistics.tokens(_N_TOKENS)
    places = statistics.positions(_N_PLACES)
    parts = [
        section("Tokens by mean activation", _table(tokens, "mean"), "in the stored examples"),
        section("Where in a text", _table(places, "mean"), f"random examples; positions {places.attrs['positions']}"),
    ]
    if statistics.record.random_sample_by_quantile:
        parts.append(section("Quantiles", _table(statistics.quantiles(), "highest_peak"), "of the examples' peaks"))
    if statistics.record.is_by_token_pair:
        distances = statistics.distances().head(_N_DISTANCES)
        parts.append(section("How far back", _table(distances, "mean"), "random examples"))
    return "".join(notes) + side_by_side(*parts)


def _state(statistics: ComponentStatistics) -> str:
    """Whether a latent is dead or dense."""
    words = "dead: it is never above 0" if statistics.is_dead else ""
    if statistics.is_dense:
        words = f"dense: it is above 0 on more than {statistics.dense_above:.0%} of the tokens"
    return f'<div style="color:{MUTED}">This latent is {words}.</div>' if words else ""


def _table(frame: pandas.DataFrame, coloured: str) -> str:
    return frame_html(frame, {coloured: ColourScale.of(frame[coloured].dropna())})
