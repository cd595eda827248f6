"""The published explanations of a neuron, with their scores."""

from neuron_explainer.activations.scored_explanations import NeuronSimulationResults
from neuron_explainer.views.components.explanations import SCORE_MEANING, score_text
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.token_text import escaped


def published_explanations_html(results: NeuronSimulationResults) -> str:
    """A table of explanations, the best first, as self-contained static HTML.

    Args:
        results: the explanations, as `ne.load_explanations` gives them.
    """
    ordered = sorted(results.scored_explanations, key=lambda each: -_score(each.scores.ev_correlation_score))
    rows = [
        [
            escaped(each.explanation.strip()),
            score_text(each.scores.ev_correlation_score),
        ]
        for each in ordered
    ]
    head = f'<abbr title="{escaped(SCORE_MEANING)}">score</abbr>'
    return card(html_table(["explanation", head], rows, {1}), "ne-explanations")


def _score(score: float | None) -> float:
    return -1.0 if score is None else score
