"""The explanations of a component: published ones with scores, one's own, and simulated beside real activations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neuron_explainer.activations.scored_explanations import ScoredExplanation, ScoredSequenceSimulation
from neuron_explainer.views.attribution.cells import section
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card, html_table
from neuron_explainer.views.explanations.small_tables import wrapped_text
from neuron_explainer.views.heatmap import format_value, heatmap_text, legend
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from neuron_explainer.components.explanations.of_component import ComponentExplanations
    from neuron_explainer.components.explanations.own_file import OwnExplanation

SCORE_MEANING = "how well a simulation by the explanation predicts the activations: their correlation, 1 at best"
N_TEXTS, _N_TOKENS, _LONGEST = 3, 60, 2_000
_SMALL = f"color:{MUTED};font-size:12px"


def component_explanations_html(explanations: ComponentExplanations) -> str:
    """The explanations of a component on a card of their own.

    Args:
        explanations: the explanations.
    """
    content = explanations_section(explanations)
    return card(
        content or f'<div style="{_SMALL}">No explanations of {escaped(str(explanations.component.name))}.</div>'
    )


def explanations_section(explanations: ComponentExplanations) -> str:
    """The explanations as a section of a page; empty if there are none.

    Args:
        explanations: the explanations.
    """
    scored, own = explanations.scored, explanations.own
    if not scored and not own:
        return ""
    source = "published" if explanations.component.at_hand.explanations is None else "files"
    rows = [
        [wrapped_text(each.explanation.strip(), _LONGEST), _of_simulation(each.scores.ev_correlation_score), source]
        for each in scored
    ]
    rows += [[wrapped_text(each.text, _LONGEST), _of_own(each), _own_since(each)] for each in own]
    head = f'<span title="{escaped(SCORE_MEANING)}">score</span>'
    table = html_table(["explanation", head, "from"], rows, {1})
    simulated = simulated_beside_real(scored[0]) if scored else ""
    return section("Explanations", table + simulated)


def _of_simulation(score: float | None) -> str:
    return _measured(score, "correlation")


def _of_own(explanation: OwnExplanation) -> str:
    return _measured(explanation.score, explanation.measure)


def _own_since(explanation: OwnExplanation) -> str:
    return f'<span style="white-space:nowrap">own, {escaped(explanation.when[:10])}</span>'


def _measured(score: float | None, measure: str) -> str:
    """A score, and what it measures, for scores of different kinds stand in one column."""
    said = f' <span style="{_SMALL}">{escaped(measure[:80])}</span>' if measure and score is not None else ""
    return score_text(score) + said


def score_text(score: float | None) -> str:
    """A score as text; empty if it is unknown."""
    return "" if score is None else format_value(score)


def simulated_beside_real(explanation: ScoredExplanation) -> str:
    """What an explanation predicts, and under it the real activations, on a few texts; empty without texts.

    Args:
        explanation: the explanation, with its simulations.
    """
    texts = explanation.sequences[:N_TEXTS]
    if not texts:
        return ""
    real = ColourScale.of(value for each in texts for value in each.true_activations)
    simulated = ColourScale.of(value for each in texts for value in _simulated(each))
    parts = []
    for each in texts:
        tokens, score = each.sequence_simulation.tokens, each.scores.ev_correlation_score
        of_text = f" · correlation {format_value(score)}" if score is not None else ""
        parts.append(
            f'<div style="margin-top:8px"><span style="{_SMALL}">simulated</span> '
            f"{heatmap_text(tokens, _simulated(each), simulated, _N_TOKENS)}"
            f'<span style="{_SMALL}">real{of_text}</span> '
            f"{heatmap_text(tokens, each.true_activations, real, _N_TOKENS)}</div>"
        )
    lacks = any(math.isnan(value) for each in texts for value in _simulated(each))
    about = f"simulated by “{explanation.explanation.strip()[:_LONGEST]}”, beside the real activations"
    about += "; grey: no prediction" if lacks else ""
    legends = legend(simulated, note="simulated") + legend(real, note="real")
    line = f'<div style="{_SMALL};margin-top:10px;overflow-wrap:anywhere">{escaped(about)}</div>'
    return f"{line}{legends}{''.join(parts)}"


def _simulated(sequence: ScoredSequenceSimulation) -> list[float]:
    """The predictions; NaN, which is grey, where the simulator made none."""
    return [math.nan if value is None else value for value in sequence.sequence_simulation.expected_activations]
