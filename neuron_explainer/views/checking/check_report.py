"""The report of a model's checks: the verdict, each check, the places, and what precision costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import HEADING, section
from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.explanations.small_tables import small_table, wrapped_text
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from neuron_explainer.checking.findings import Finding
    from neuron_explainer.checking.report import CheckReport

_MARKS = {"passed": "✓", "failed": "✗", "not checked": "–"}
_ABOUT_DIFFERENCES = (
    "Differences are shares of the largest number at the token; those of gradients beside small steps are shares of "
    "the steepest slope, and those of rows of attention are as they are."
)
_LONGEST, _MOST_FINDINGS, _MOST_PLACES = 600, 60, 8


def check_report_html(report: CheckReport) -> str:
    """A report on a card. What failed comes first.

    Args:
        report: the report.
    """
    beside = "" if report.reference is None else f" beside {escaped(report.reference)}"
    heading = (
        f"<div><b {HEADING}>{escaped(report.model)}{beside}</b> "
        f'<span style="{SMALL}">{escaped(report.verdict)} · {report.seconds:.1f} s</span></div>'
    )
    first = report.first_difference
    where = "" if first is None else f"<div>First difference: {escaped(str(first))}</div>"
    rows = map(_row, report.in_order_of_weight[:_MOST_FINDINGS])
    columns = ["", "check", "what was found", "difference", "allowed"]
    table = f'<div style="margin:8px 0">{html_table(columns, rows, {3, 4})}</div>'
    note = f'<div style="{SMALL}">{_ABOUT_DIFFERENCES}</div>'
    return card(heading + where + table + note + _places(report) + _precision(report))


def _row(finding: Finding) -> Sequence[str]:
    mark = f'<b title="{finding.status}">{_MARKS[finding.status]}</b>'
    return [
        f'<span style="white-space:nowrap">{mark} {finding.status}</span>',
        escaped(finding.check),
        wrapped_text(finding.said, _LONGEST),
        _number(finding.difference),
        _number(finding.allowed),
    ]


def _places(report: CheckReport) -> str:
    if report.places is None:
        return ""
    beyond = report.places_that_differ
    if beyond is not None and len(beyond):
        title, shown, about = "The first places that differ", beyond, f"{len(beyond):,} of {len(report.places):,}"
    else:
        title, about = "Places that are farthest apart, all within what is allowed", f"of {len(report.places):,}"
        shown = report.places.sort_values("relative", ascending=False, kind="stable")
    return section(title, small_table(shown.head(_MOST_PLACES)), f"{about}; all are in report.places")


def _precision(report: CheckReport) -> str:
    if report.precision is None or not len(report.precision):
        return ""
    logits = report.precision[report.precision["place"] == "logits"]
    shown = logits.drop(columns=["place", "layer"])
    return section(
        "What precision costs at the logits",
        small_table(shown),
        "how far from float64; report.precision has all places",
    )


def _number(value: float) -> str:
    if math.isinf(value):
        return "infinite"
    return "" if math.isnan(value) else f"{value:.2g}"
