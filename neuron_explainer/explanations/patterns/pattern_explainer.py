"""`PatternExplainer`: the patterns of tokens on which a component is active."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas

from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.interfaces import Simulator
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.patterns.finding import find_patterns
from neuron_explainer.explanations.patterns.found_pattern import FoundPattern
from neuron_explainer.explanations.patterns.matrix import PatternMatrix
from neuron_explainer.explanations.patterns.simulating import HighestPattern, WeightedPatterns
from neuron_explainer.explanations.patterns.templates import prior_of
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens
from neuron_explainer.explanations.patterns.weights import ridge_weights
from neuron_explainer.explanations.patterns.wording import patterns_text, written_text
from neuron_explainer.vocabulary.checks import checked_number

_PRIOR_OF_FOUND = 2.0
_SMALLEST_WEIGHT = 1e-3


class PatternExplainer:
    """Finds the patterns of tokens on which a component is active, from its examples alone: no model is asked."""

    name = "patterns"

    def __init__(self, most_patterns: int = 8) -> None:
        self.most_patterns = checked_number("most_patterns", most_patterns, 1)

    def explain(self, subject: Subject, n: int) -> list[Explanation]:
        training = TrainingTokens.of(subject)
        matrix = PatternMatrix.of(training)
        found = find_patterns(training, matrix)
        told = patterns_text(found, self.most_patterns) or "no pattern of tokens: it is about as active everywhere"
        details = {"patterns": _table(found)}
        raised = written_text(subject)
        base = float(training.activation[~training.is_high].mean()) if not training.is_high.all() else 0.0
        candidates: list[tuple[str, Simulator]] = [(told + raised, _weighted(training, matrix, found))]
        return [
            Explanation(text, self.name, simulator, training.written_from, details) for text, simulator in candidates
        ]


def _weighted(training: TrainingTokens, matrix: PatternMatrix, found: Sequence[FoundPattern]) -> WeightedPatterns:
    number = {key: index for index, key in enumerate(matrix.keys)}
    prior = np.array([prior_of(key) for key in matrix.keys])
    for pattern in found:
        for key in pattern.keys:
            prior[number[key]] += _PRIOR_OF_FOUND
    weights, base = ridge_weights(matrix, training.activation, prior)
    kept = np.flatnonzero(np.abs(weights) > _SMALLEST_WEIGHT * training.top)
    return WeightedPatterns(base, {matrix.keys[index]: float(weights[index]) for index in kept})


def _table(found: Sequence[FoundPattern]) -> pandas.DataFrame:
    rows = [(each.text, each.activation, each.support, each.precision) for each in found]
    return pandas.DataFrame(rows, columns=["pattern", "activation", "support", "precision"])
