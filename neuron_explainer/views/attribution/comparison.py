"""The page of two answers side by side: what changed, largest difference first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.attribution.cells import (
    HEADING,
    frame_html,
    kind_of_column,
    section,
    side_by_side,
    signed,
)
from neuron_explainer.views.attribution.heading import question_heading
from neuron_explainer.views.attribution.node_tables import effect_scales
from neuron_explainer.views.attribution.waterfalls.part_sums import part_sums
from neuron_explainer.views.attribution.waterfalls.sums import sums_html
from neuron_explainer.views.attribution.waterfalls.waterfall import Axis
from neuron_explainer.views.document import card, html_document

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.attribution.comparison import Comparison

_N_PARTS, _N_NODES, _N_TOKENS = 15, 20, 10
_DIFFERENCE = "difference"


def comparison_html(comparison: Comparison) -> str:
    """Two answers side by side as self-contained static HTML.

    Args:
        comparison: the answers, as `compare` gives them.
    """
    return card(comparison_content(comparison), "ne-comparison")


def comparison_content(comparison: Comparison) -> str:
    """`comparison_html` without the card."""
    nodes = section("Nodes", _with_scales(_nodes(comparison)), "largest difference of total effects first")
    return _top(comparison) + nodes


def comparison_top_html(comparison: Comparison) -> str:
    """The beginning of the page of two answers: both questions, predictions, sums and parts."""
    return card(_top(comparison), "ne-comparison")


def _top(comparison: Comparison) -> str:
    first, second = comparison.first, comparison.second
    axis = Axis.of([*part_sums(first), *part_sums(second)])
    parts = [
        side_by_side(*(_titled(which, question_heading(why)) for which, why in ((1, first), (2, second)))),
        _difference(comparison.difference),
        section("Next tokens", _next_tokens(comparison)),
        section("The sums", _titled(1, sums_html(first, axis)) + _titled(2, sums_html(second, axis))),
        section("Parts", _with_scales(_largest(comparison.parts(), _N_PARTS)), "largest difference first"),
    ]
    return "".join(parts)


def comparison_document(comparison: Comparison) -> str:
    """The page of `comparison_html` as a complete HTML file."""
    first, second = comparison.first.inquiry.title, comparison.second.inquiry.title
    return html_document(comparison_html(comparison), first if first == second else f"{first}; {second}")


def _difference(number: float) -> str:
    return f'<div style="font-size:16px;margin-top:8px">the first minus the second: <b>{signed(number)}</b></div>'


def _titled(which: int, content: str) -> str:
    return f'<div style="margin-top:6px"><b {HEADING}>Answer {which}</b></div>{content}'


def _next_tokens(comparison: Comparison) -> str:
    """Both answers' next tokens; empty if they are not about logits."""
    try:
        frame = comparison.next_tokens(_N_TOKENS)
    except InvalidRequestError:
        return ""
    return _with_scales(frame.drop(columns=["token_id"]))


def _largest(frame: pandas.DataFrame, n: int) -> pandas.DataFrame:
    """The n rows with the largest difference."""
    return frame.iloc[frame[_DIFFERENCE].abs().argsort(kind="stable")[::-1][:n]]


def _nodes(comparison: Comparison) -> pandas.DataFrame:
    """The nodes that differ most. Where both prompts have the same tokens, these have one column."""
    frame = comparison.nodes(_N_NODES)
    frame = frame.drop(columns=["write_norm_1", "write_norm_2"])
    for name in ("token", "attended_to"):
        if frame[f"{name}_1"].equals(frame[f"{name}_2"]):
            frame = frame.drop(columns=[f"{name}_2"]).rename(columns={f"{name}_1": name})
    return frame


def _with_scales(frame: pandas.DataFrame) -> str:
    return frame_html(frame, effect_scales(frame, [name for name in frame.columns if kind_of_column(name) == "effect"]))
