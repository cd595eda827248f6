"""Answers with and without a direction, side by side, as a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import section, signed
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.running_text import plain_tokens
from neuron_explainer.views.token_text import token_html

if TYPE_CHECKING:
    from neuron_explainer.experiments.steering.answers import SteeredAnswers

_MOST_OF_PROMPT = 300
_WORDS = re.compile(r"\s?\S+|\s")  # a line may break between them


def steered_answers_html(answers: SteeredAnswers) -> str:
    """Answers without a direction and with it as self-contained static HTML.

    Args:
        answers: as `Steering.generate` gives them.
    """
    tokens = answers.prompt[-_MOST_OF_PROMPT:]
    left_out = "" if len(tokens) == len(answers.prompt) else "… "
    prompt = f'<div style="margin:4px 0 8px">{left_out}{_text("".join(tokens))}</div>'
    what = f"{answers.mode}: {answers.direction}"
    heads, numeric = ["strength", "answer"], [0]
    first = answers.without.log_probability
    if answers.text is not None and first is not None:
        heads += [f'ln p of <span class="ne-text"><bdi>{token_html(answers.text)}</bdi></span>', "change"]
        numeric += [2, 3]
    rows = []
    for row in answers.rows:
        cells = ["without" if row.strength is None else format_value(row.strength), _text(row.answer, 200)]
        if first is not None and row.log_probability is not None:
            change = "" if row.strength is None else signed(row.log_probability - first)
            cells += [f"{row.log_probability:.3f}".replace("-", "−"), change]
        rows.append(cells)
    content = f"{prompt}{html_table(heads, rows, numeric)}"
    return card(section("Answers without and with a direction", content, what, space=0), "ne-steering")


def _text(text: str, width: int = 0) -> str:
    """A text whose lines break between words, or within one that is too long."""
    words = plain_tokens(_WORDS.findall(text))
    return f'<div class="ne-text" style="overflow-wrap:anywhere;min-width:{width}px">{words}</div>'
