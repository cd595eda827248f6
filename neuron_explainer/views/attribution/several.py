"""The page of answers about several prompts: each one's number, and means over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import effect_cell, section, token_cell
from neuron_explainer.views.attribution.head_map import head_map
from neuron_explainer.views.attribution.heading import hints_note, sum_line, value_line
from neuron_explainer.views.attribution.node_tables import component_table_html
from neuron_explainer.views.attribution.waterfalls.part_sums import mean_sum
from neuron_explainer.views.attribution.waterfalls.waterfall import waterfall
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card, html_document, html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped
from neuron_explainer.wording import counted

if TYPE_CHECKING:
    from neuron_explainer.attribution.attributions import Attributions

_N_PROMPTS = 40


def attributions_html(several: Attributions) -> str:
    """Answers about several prompts as self-contained static HTML: the numbers, and the mean sum and heads.

    Args:
        several: the answers, as `ne.attribute` gives them for a list of prompts.
    """
    if not len(several):
        return card(f'<div style="color:{MUTED}">No prompts.</div>', "ne-attributions")
    total, heads = mean_sum(several), several.heads()
    parts = [
        hints_note(dict.fromkeys(hint for why in several for hint in why.hints)),
        value_line(attributions_title(several), total.value),
        sum_line(total.value - total.residue, total.residue),
        section("Prompts", _prompts(several)),
        section("The mean sum", waterfall(total), "direct effects, scales of norms held constant"),
        head_map(heads),
        component_table_html("Heads", heads),
    ]
    return card("".join(parts), "ne-attributions")


def attributions_document(several: Attributions) -> str:
    """The page of `attributions_html` as a complete HTML file."""
    return html_document(attributions_html(several), attributions_title(several))


def attributions_title(several: Attributions) -> str:
    """What the mean is of."""
    titles = {why.inquiry.title for why in several}
    what = titles.pop() if len(titles) == 1 else "value"
    return f"mean over {counted(len(several), 'prompt')}: {what}"


def _prompts(several: Attributions) -> str:
    frame = several.table()
    scale = ColourScale.of(frame["value"])
    rows = [
        [
            f'<div style="min-width:220px">{token_cell(prompt)}</div>',
            escaped(question),
            effect_cell(value, scale),
            format_value(float(f"{residue:.2g}")),
        ]
        for prompt, question, value, residue in frame.head(_N_PROMPTS).itertuples(index=False, name=None)
    ]
    left_out = len(frame) - len(rows)
    more = f'<div style="color:{MUTED}">and {counted(left_out, "prompt")} more</div>' if left_out else ""
    return html_table(["prompt", "question", "value", "residue"], rows, {2, 3}) + more
