"""The two runs of an experiment: both prompts, the metric of each, and what may mislead about it."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_explainer.views.attribution.heading import hints_note
from neuron_explainer.views.document import MUTED, html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.running_text import plain_tokens
from neuron_explainer.views.token_text import escaped

_MOST_TOKENS = 64
_SMALL = f"color:{MUTED};font-size:12px"


def two_runs_html(
    clean: Sequence[str],
    corrupted: Sequence[str],
    values: tuple[float, float],
    metric: str,
    n_pairs: int,
    hints: Sequence[str] = (),
) -> str:
    """A table of both runs, and below it what the metric is.

    Args:
        clean, corrupted: the tokens of each prompt; of several pairs, those of the first.
        values: the metric of the clean and of the corrupted run; of several pairs, the means.
        metric: what it is, in words.
        n_pairs: how many pairs there are.
        hints: what a person may have meant instead; text.
    """
    runs = (("clean", clean, values[0]), ("corrupted", corrupted, values[1]))
    rows = [[name, _prompt(tokens), format_value(value)] for name, tokens, value in runs]
    of_several = n_pairs > 1
    heads = [
        "run",
        "prompt" + (f" (the first of {n_pairs:,} pairs)" if of_several else ""),
        "mean metric" if of_several else "metric",
    ]
    said = f"metric: {metric}" + (f"; means of {n_pairs:,} pairs" if of_several else "")
    return html_table(heads, rows, {2}) + f'<div style="{_SMALL}">{escaped(said)}</div>' + hints_note(hints)


def _prompt(tokens: Sequence[str]) -> str:
    start = max(0, len(tokens) - _MOST_TOKENS)
    left_out = f'<span style="color:{MUTED}" title="{start} earlier tokens not shown">⋯</span>' if start else ""
    return f'<div class="ne-text" style="overflow-wrap:anywhere">{left_out}{plain_tokens(tokens[start:])}</div>'
