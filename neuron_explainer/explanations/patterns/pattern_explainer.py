"""`PatternExplainer`: the patterns of tokens on which a component is active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.interfaces import Simulator
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.patterns.finding import find_patterns
from neuron_explainer.explanations.patterns.found_pattern import FoundPattern
from neuron_explainer.explanations.patterns.matrix import PatternMatrix
from neuron_explainer.explanations.patterns.simulating import HighestPattern, WeightedPatterns
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens
from neuron_explainer.explanations.patterns.weights import ridge_weights
from neuron_explainer.explanations.patterns.wording import explanations_told, patterns_text, shorter_than
from neuron_explainer.vocabulary.checks import checked_number

_PRIOR_OF_FOUND = 1.0
"""What is added to the prior variance of the weights of patterns that were found."""
_SMALLEST_WEIGHT = 1e-3
"""Smaller weights, as shares of the top, are left out."""


class PatternExplainer:
    """Finds the patterns of tokens on which a component is active. No model is asked; it takes milliseconds.

    A pattern says something of this token and of up to three before it: which token, which word whatever its case and
    the space before it, its kind (a digit, a capitalised word, …), its ending or beginning; or how far it is from the
    begin of the text. Other tokens may be anything (`[any]`). It is found by contrast: the shortest pattern that
    matches many high activations, and little else, in the examples for writing and in random ones.
    Neuron to Graph (Foote et al., 2023) finds such patterns by running the model on changed texts; here, the examples
    themselves are what is compared.

    The first explanation simulates with a weight for every pattern of some shapes that occurs in the examples, by ridge
    regression, in which those that were found weigh most; its text tells these. The other ones are shorter and simulate
    by what they tell alone: the mean activation of the strongest pattern that matches.

    Args:
        most_patterns: how many patterns the text tells; `details["patterns"]` has all that were found, with their mean
            activation, their support (how many high activations they match: those of at least half of the median peak
            of the examples) and their precision (the share of their matches that are high).

    Raises:
        InvalidRequestError: `most_patterns` is below 1.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations import PatternExplainer, explain
    >>> found = explain(ne.load_neuron("tiny", 0, 3), PatternExplainer())[0]
    >>> found.details["patterns"].columns.tolist()
    ['pattern', 'activation', 'support', 'precision']
    >>> len(found.simulate(["In", " the", " beginning"]))
    3
    """

    name = "patterns"

    def __init__(self, most_patterns: SupportsIndex = 8) -> None:
        self.most_patterns = checked_number("most_patterns", most_patterns, 1)

    def __repr__(self) -> str:
        return f"PatternExplainer({self.most_patterns})"

    def explain(self, subject: Subject, n: int) -> list[Explanation]:
        """At most three explanations: all patterns, the three strongest, the strongest.

        Args:
            subject: the component.
            n: at most how many.

        Raises:
            InvalidRequestError: the component has no examples with an activation above 0 to write from.
        """
        training = TrainingTokens.of(subject)
        matrix = PatternMatrix.of(training)
        found = find_patterns(training, matrix)
        told: list[tuple[str, Simulator]] = [
            (patterns_text(found, self.most_patterns), _weighted(training, matrix, found)),
            *(
                (patterns_text(found[:most], most), HighestPattern.of(found[:most], training.base))
                for most in shorter_than(len(found))
            ),
        ]
        return explanations_told(self.name, subject, training, told[:n], {"patterns": _table(found)})


def _weighted(training: TrainingTokens, matrix: PatternMatrix, found: Sequence[FoundPattern]) -> WeightedPatterns:
    prior = matrix.prior
    for pattern in found:
        prior[list(pattern.keys)] += _PRIOR_OF_FOUND
    weights, base = ridge_weights(matrix, training.activation, prior)
    kept = np.flatnonzero(np.abs(weights) > _SMALLEST_WEIGHT * training.top)
    return WeightedPatterns(base, {key: float(weights[number]) for number, key in matrix.keys(kept).items()})


def _table(found: Sequence[FoundPattern]) -> TokenTable:
    rows = [(each.text, each.activation, each.support, each.precision) for each in found]
    return TokenTable(rows, columns=["pattern", "activation", "support", "precision"])
