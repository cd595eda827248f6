"""The score of an explanation: its value and interval beside chance and baselines, measures, and some judgements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neuron_explainer.explanations.many.simulated import is_of_simulation, scored_explanation
from neuron_explainer.views.attribution.cells import HEADING, section, side_by_side
from neuron_explainer.views.components.explanations import N_TEXTS, simulated_beside_real
from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.explanations.judged import judged_texts
from neuron_explainer.views.explanations.meanings import MEASURES, line_of
from neuron_explainer.views.explanations.score_bars import ScoreRow, score_bars
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped
from neuron_explainer.wording import counted

if TYPE_CHECKING:
    from neuron_explainer.explanations.scoring.score import ExplanationScore

_N_MEASURES, _LONGEST = 24, 1_000


def score_html(score: ExplanationScore) -> str:
    """A score on a card.

    Args:
        score: the score.
    """
    text = score.explanation if len(score.explanation) <= _LONGEST else f"{score.explanation[:_LONGEST]}…"
    heading = (
        f"<div><b {HEADING}>{escaped(score.measure)}</b> "
        f'<span style="{SMALL}">{escaped(score.component)} · {escaped(score.scorer)}</span></div>'
        f'{line_of(MEASURES, score.measure)}<div style="overflow-wrap:anywhere">{escaped(text)}</div>'
    )
    note = f'<div style="{SMALL};overflow-wrap:anywhere">{escaped(score.note)}</div>' if score.note else ""
    numbers = side_by_side(section("Beside others", score_bars(_rows(score)), space=10), _measures(score))
    return card(heading + note + numbers + _judgements(score))


def _rows(score: ExplanationScore) -> list[ScoreRow]:
    return [
        ScoreRow("this explanation", score.value, score.interval, is_main=True),
        *(ScoreRow(name, value) for name, value in score.baselines.items()),
        ScoreRow("chance", score.chance),
    ]


def _measures(score: ExplanationScore) -> str:
    rows = [
        [escaped(str(name)), format_value(value) if math.isfinite(value) else "not defined"]
        for name, value in list(score.measures.items())[:_N_MEASURES]
    ]
    return section("Measures", html_table(["", ""], rows, {1}), space=10) if rows else ""


def _judgements(score: ExplanationScore) -> str:
    if not len(score.judgements):
        return ""
    if is_of_simulation(score.judgements):
        texts = scored_explanation(score)
        n_texts = len(texts.sequences)
        few = f"{N_TEXTS} of " if n_texts > N_TEXTS else ""
        note = f"{few}{counted(n_texts, 'text')} that it was not written from"
        return section("Simulated and real activations", simulated_beside_real(texts), note)
    return section("Texts as they were judged", judged_texts(score.judgements), f"{len(score.judgements):,} in all")
