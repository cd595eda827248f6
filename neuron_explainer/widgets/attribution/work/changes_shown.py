"""The ablations of an answer as its page lists them: each with the metric before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.attribution.exploring.exploration import Change
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.widgets.attribution.panels.changes_panel import ShownChange

if TYPE_CHECKING:
    from neuron_explainer.attribution.exploring.explorer import Explored


def changes_of(explored: Explored) -> list[ShownChange]:
    """The ablations, those that are switched off too. Each stands on top of those before it."""
    shown, before = [], 0
    for change in explored.asked.changes:
        label = _label(change)
        if change.is_on:
            first, second = explored.values[before], explored.values[before + 1]
            before += 1
            shown.append(ShownChange(label, first, second))
        else:
            shown.append(ShownChange(label, None, None, is_on=False))
    return shown


def _label(change: Change) -> str:
    """The node and its value, in words."""
    if isinstance(change.value, str):
        return f"{change.node} = {_WORDS.get(change.value, change.value)}"
    return f"{change.node} = {format_value(float(change.value))}"


_WORDS = {"mean": "its mean", "other": "the 2nd prompt's"}
