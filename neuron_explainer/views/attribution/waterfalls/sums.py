"""The waterfalls of an answer; where answers of several tokens are compared, that of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import quoted, signed
from neuron_explainer.views.attribution.waterfalls.part_sums import PartSum, part_sums
from neuron_explainer.views.attribution.waterfalls.waterfall import Axis, waterfall
from neuron_explainer.views.document import MUTED
from neuron_explainer.views.heatmap import format_value

if TYPE_CHECKING:
    from neuron_explainer.attribution.numbers_and_tables import AttributionTables


def sums_html(why: AttributionTables, axis: Axis | None = None) -> str:
    """The waterfalls of an answer, and what they come to together.

    Args:
        why: the answer.
        axis: the axis of all waterfalls; None: their own.
    """
    sums = part_sums(why)
    axis = Axis.of(sums) if axis is None else axis
    shown = [_of_answer(each) + waterfall(each, axis) for each in sums]
    if len(sums) > 1:
        terms = " ".join(f"{quoted(each.answer or '')} <b>{signed(each.value)}</b>" for each in sums)
        shown.append(f'<div style="margin:6px 0">{terms} <b>= {format_value(why.value)}</b></div>')
    return "".join(shown)


def _of_answer(total: PartSum) -> str:
    """Which answer a sum is about, and how it counts."""
    if total.answer is None:
        return ""
    own = f"with weight {format_value(total.weight)}"
    if total.weight:
        own = f"log-probability {format_value(total.value / total.weight)}, {own}"
    return f'<div style="margin-top:10px"><b>{quoted(total.answer)}</b> <span style="color:{MUTED}">{own}</span></div>'
