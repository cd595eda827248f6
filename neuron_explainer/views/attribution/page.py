"""An answer's page: the question, the prediction, the sum, tokens, heads and nodes, as static HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuron_explainer.views.attribution.cells import is_missing, section
from neuron_explainer.views.attribution.changes import change_line
from neuron_explainer.views.attribution.comparison import comparison_content
from neuron_explainer.views.attribution.head_map import head_map
from neuron_explainer.views.attribution.heading import question_heading
from neuron_explainer.views.attribution.node_tables import component_section, node_section
from neuron_explainer.views.attribution.predictions import predictions
from neuron_explainer.views.attribution.token_effects import token_effects
from neuron_explainer.views.attribution.waterfalls.sums import sums_html
from neuron_explainer.views.document import INK, MONO, MUTED, PAPER, SANS, card, html_document, html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from neuron_explainer.attribution.attribution import Attribution
    from neuron_explainer.attribution.comparison import Comparison


def attribution_html(
    why: Attribution,
    *,
    comparison: Comparison | None = None,
    changes: Iterable[tuple[Any, ...]] = (),
    notes: str = "",
    code: str = "",
) -> str:
    """An answer as self-contained static HTML.

    It shows the question and its number; what the parts sum to; the next tokens; the parts as a waterfall; the prompt
    coloured by effects; all heads; and the nodes with the largest effects. It contains no scripts and downloads
    nothing; all text is escaped.

    Args:
        why: the answer, as `ne.attribute` gives it.
        comparison: this answer beside another; None for the answer alone.
        changes: ablations with the number before and after each; the arguments of `change_html`.
        notes: a person's own text.
        code: Python that gives the answer.

    Returns:
        HTML; show it in a notebook with `IPython.display.HTML`. (An answer displays itself this way.)
    """
    parts = [
        question_heading(why),
        section("Notes", _preformatted(notes, SANS)),
        section("Changes", "".join(change_line(*change) for change in changes), "each on top of those before it"),
        predictions(why),
        _sums(why),
        token_effects(why),
        head_map(why.heads()),
        component_section(why),
        node_section(why),
        "" if comparison is None else section("Two prompts side by side", comparison_content(comparison)),
        section("The code", _preformatted(code, MONO)),
    ]
    return card("".join(parts), "ne-attribution")


def answer_top_html(why: Attribution) -> str:
    """The beginning of an answer's page: the question, the prediction and the sum."""
    return card(question_heading(why) + predictions(why) + _sums(why), "ne-attribution")


def attribution_document(why: Attribution, **more: Any) -> str:
    """The page of `attribution_html` as a complete HTML file; `more` are what it takes beside the answer."""
    return html_document(attribution_html(why, **more), f"{why.inquiry.title} = {format_value(why.value)}")


def _preformatted(text: str, font: str) -> str:
    """A text with its own line breaks."""
    style = f"font-family:{font};font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0"
    return f'<pre style="{style};background-color:{PAPER};color:{INK};padding:0">{escaped(text)}</pre>' if text else ""


def _sums(why: Attribution) -> str:
    """The sum of parts; where answers of several tokens are compared, the sum of each."""
    return section("The sum", sums_html(why) + _table(why), "direct effects, scales of norms held constant")


def _table(why: Attribution) -> str:
    """All parts with their numbers, closed at first."""
    frame = why.parts()
    names = [name for name in ("answer", "part", "layer") if name in frame.columns]
    summed = frame.groupby(names, dropna=False, sort=False)["direct_effect"].sum().reset_index()
    rows = [
        ["" if is_missing(value) else escaped(str(value)) for value in row[:-1]] + [format_value(row[-1])]
        for row in summed.itertuples(index=False, name=None)
    ]
    table = html_table([*names, "direct effect"], rows, {len(names) - 1, len(names)})
    summary = f'<summary style="color:{MUTED};font-size:12px">all parts in numbers</summary>'
    return f"<details>{summary}{table}</details>"
