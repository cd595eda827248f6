"""One head's place among all heads of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import section
from neuron_explainer.views.components.head_maps import ABOUT_SCORES, head_maps_html
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    import pandas


def head_place_html(scores: pandas.DataFrame, name: str) -> str:
    """A head's scores with their ranks, above the maps of all heads, in which it is marked.

    Args:
        scores: a table of heads, as `ne.head_scores` gives it.
        name: the head, such as L3H2.
    """
    rows = []
    for column in (column for column in ABOUT_SCORES if column in scores.columns):
        ranks = scores[column].rank(ascending=False, method="min")
        for rank, value in zip(ranks[scores["name"] == name], scores.loc[scores["name"] == name, column], strict=True):
            if rank == rank:  # not NaN, which a head without this score has
                place = f"{int(rank)} of {int(scores[column].notna().sum())}"
                rows.append([escaped(column), format_value(float(value)), place, escaped(ABOUT_SCORES[column])])
    table = html_table(["score", "value", "rank", ""], rows, {1}) if rows else ""
    return card(section(f"{name} among all heads", table, space=0), "ne-section") + head_maps_html(scores, name)
