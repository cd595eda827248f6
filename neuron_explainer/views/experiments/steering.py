"""Answers with and without a direction, side by side, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import signed
from neuron_explainer.views.document import MUTED, card, html_table
from neuron_explainer.views.token_text import escaped, token_html

if TYPE_CHECKING:
    from neuron_explainer.experiments.steering.answers import SteeredAnswers

_MOST_OF_PROMPT = 300


def steered_answers_html(answers: SteeredAnswers) -> str:
    """Answers without a direction and with it as self-contained static HTML.

    Args:
        answers: as `Steering.generate` gives them.
    """
    tokens = answers.prompt[-_MOST_OF_PROMPT:]
    left_out = "" if len(tokens) == len(answers.prompt) else "… "
    prompt = f'<div class="ne-text">{left_out}<bdi>{token_html("".join(tokens))}</bdi></div>'
    what = f'<div style="color:{MUTED};margin:4px 0 8px 0">{escaped(answers.mode)}: {escaped(answers.direction)}</div>'
    heads, numeric = ["strength", "answer"], [0]
    first = answers.without.log_probability
    if answers.text is not None and first is not None:
        heads += [f'ln p of <span class="ne-text"><bdi>{token_html(answers.text)}</bdi></span>', "change"]
        numeric += [2, 3]
    rows = []
    for row in answers.rows:
        cells = ["without" if row.strength is None else f"{row.strength:g}"]
        cells.append(f'<span class="ne-text"><bdi>{token_html(row.answer)}</bdi></span>')
        if first is not None and row.log_probability is not None:
            change = "" if row.strength is None else signed(row.log_probability - first)
            cells += [f"{row.log_probability:.3f}", change]
        rows.append(cells)
    return card(f"{prompt}{what}{html_table(heads, rows, numeric)}", "ne-steering")
