"""Tables of words, tokens and numbers, whatever their columns are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas

from neuron_explainer.views.attribution.cells import effect_cell, is_missing, token_cell
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped

_LONGEST, _MOST_COLUMNS = 200, 9
_WIDE = 40  # characters from which a cell is held wide
_TOKENS = ("token", "tokens", "source", "query", "key", "attended_to")


def small_table(frame: pandas.DataFrame, scales: Mapping[str, ColourScale] | None = None) -> str:
    """A table; long texts are cut, and columns of numbers are aligned to the right. Its index is not shown.

    Args:
        frame: the table; up to nine of its columns are shown.
        scales: the colours of columns, by their names.
    """
    frame = frame.loc[:, ~frame.columns.duplicated()]
    columns = [name for name in frame.columns if frame[name].notna().any()][:_MOST_COLUMNS]
    numeric = {place for place, name in enumerate(columns) if pandas.api.types.is_any_real_numeric_dtype(frame[name])}
    chosen = scales or {}
    rows = [
        [_cell(str(name), value, chosen.get(str(name))) for name, value in zip(columns, values, strict=True)]
        for values in zip(*(frame[name].tolist() for name in columns), strict=True)
    ]
    return html_table([escaped(str(name)[:80].replace("_", " ")) for name in columns], rows, numeric)


def _cell(name: str, value: Any, scale: ColourScale | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return wrapped_text(", ".join(str(each) for each in value[:_LONGEST]))
    if is_missing(value):
        return ""
    if isinstance(value, float):
        return format_value(value) if scale is None else effect_cell(value, scale)
    if isinstance(value, str) and name in _TOKENS:
        return token_cell(value[:_LONGEST])
    return wrapped_text(str(value))


def wrapped_text(text: str, longest: int = _LONGEST) -> str:
    """A text that is cut where it is too long, and broken anywhere where it has no spaces.

    Args:
        text: the text.
        longest: the most characters.
    """
    shown = escaped(text if len(text) <= longest else f"{text[:longest]}…")
    return f'<div style="min-width:15em;overflow-wrap:anywhere">{shown}</div>' if len(text) > _WIDE else shown
