"""Explanations of a component: their texts, who wrote them, and what they say of themselves, such as patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas

from neuron_explainer.views.attribution.cells import section
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.explanations.meanings import TABLES, TITLES, line_of
from neuron_explainer.views.explanations.small_tables import small_table, wrapped_text
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from neuron_explainer.explanations.asking.explanation import Explanation, Explanations

_N_EXPLANATIONS, _N_TABLES, _N_ROWS, _LONGEST = 50, 3, 12, 2_000


def explanations_html(explanations: Explanations) -> str:
    """Explanations of a component on a card, the best first.

    Args:
        explanations: the explanations.
    """
    shown = explanations[:_N_EXPLANATIONS]
    rows = [
        [wrapped_text(each.text, _LONGEST), escaped(each.explainer or "own"), "yes" if each.can_simulate else "no"]
        for each in shown
    ]
    table = html_table(["explanation", "by", "predicts activations"], rows) if rows else ""
    more = len(explanations) - len(rows)
    note = f'<div style="{SMALL}">and {more:,} more</div>' if more else ""
    nothing = f'<div style="{SMALL}">No explanation was found.</div>' if not rows else ""
    tables = "".join(_tables(each) for each in shown[:1])
    return card(section(f"What {explanations.name} does", table + note + nothing, space=0) + tables)


def _tables(explanation: Explanation) -> str:
    """The tables that an explanation comes with, such as its patterns; a few rows of each."""
    found = [
        (str(name), value)
        for name, value in explanation.details.items()
        if isinstance(value, pandas.DataFrame) and len(value)
    ]
    return "".join(
        section(_heading(name), _rows(value) + line_of(TABLES, name), _note(value)) for name, value in found[:_N_TABLES]
    )


def _heading(name: str) -> str:
    return TITLES.get(name, name[:80].replace("_", " ").capitalize())


def _note(frame: pandas.DataFrame) -> str:
    return f"{_N_ROWS} of {len(frame):,}" if len(frame) > _N_ROWS else ""


def _rows(frame: pandas.DataFrame) -> str:
    rows = frame.head(_N_ROWS)
    scales = {
        str(name): ColourScale.of(rows[name].dropna())
        for name in rows.columns
        if str(name) in ("activation", "mean_activation", "value") and pandas.api.types.is_float_dtype(rows[name])
    }
    return small_table(rows.rename(columns=str), scales)
