"""The components that a search has found, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import frame_html, section
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.parts import SMALL

if TYPE_CHECKING:
    import pandas

_COLUMNS = ("name", "activation", "score", "token", "position", "example", "explanation", "source")


def search_results_section(found: pandas.DataFrame, title: str) -> str:
    """A table of what `ne.search` gives.

    Args:
        found: the components.
        title: what was searched for; text.
    """
    if not len(found):
        return section(title, f'<div style="{SMALL}">Nothing was found.</div>')
    columns = [name for name in _COLUMNS if name in found.columns]
    if "activation" in columns and (found["activation"] == found["score"]).all():
        columns.remove("score")
    scales: dict[str, ColourScale] = {
        name: ColourScale.of(found[name].dropna()) for name in ("activation", "score") if name in columns
    }
    return section(title, frame_html(found, scales, columns))
