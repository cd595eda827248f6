"""The page of two answers side by side: what changed, largest difference first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.attribution.cells import frame_html, section, side_by_side, signed
from neuron_explainer.views.attribution.heading import question_heading
from neuron_explainer.views.attribution.node_tables import effect_scales
from neuron_explainer.views.attribution.sums import sums_html
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
    first, second = comparison.first, comparison.second
    change = second.value - first.value
    parts = [
        side_by_side(*(_titled(which, question_heading(why)) for which, why in ((1, first), (2, second)))),
        f'<div style="font-size:16px;margin-top:8px">from the first to the second: <b>{signed(change)}</b></div>',
        section("Next tokens", _next_tokens(comparison)),
        section("The sums", _titled(1, sums_html(first)) + _titled(2, sums_html(second))),
        side_by_side(
            section("Parts", _ranked(comparison.parts(), _N_PARTS), "largest difference first"),
            section("Nodes", _ranked(comparison.nodes(_N_NODES), _N_NODES), "largest difference first"),
        ),
    ]
    return card("".join(parts), "ne-comparison")


def comparison_document(comparison: Comparison) -> str:
    """The page of `comparison_html` as a complete HTML file."""
    first, second = comparison.first.inquiry.title, comparison.second.inquiry.title
    return html_document(comparison_html(comparison), first if first == second else f"{first}; {second}")


def _titled(which: int, content: str) -> str:
    return f'<div style="margin-top:6px"><b>{which}</b></div>{content}'


def _next_tokens(comparison: Comparison) -> str:
    """Both answers' next tokens; empty if they are not about logits."""
    try:
        frame = comparison.next_tokens(_N_TOKENS)
    except InvalidRequestError:
        return ""
    return frame_html(frame, {})


def _ranked(frame: pandas.DataFrame, n: int) -> str:
    """The n rows with the largest difference."""
    columns = [name for name in frame.columns if "effect" in name or _DIFFERENCE in name]
    by = next((name for name in columns if _DIFFERENCE in name), None)
    if by is not None:
        frame = frame.iloc[frame[by].abs().argsort(kind="stable")[::-1][:n]]
    return frame_html(frame, effect_scales(frame, columns))
