"""Simulators of patterns: weights that add up, or the highest activation of the patterns that match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neuron_explainer.explanations.patterns.found_pattern import FoundPattern
from neuron_explainer.explanations.patterns.templates import Key, all_forms, keys_at


@dataclass(frozen=True, eq=False)
class WeightedPatterns:
    """Predicts a sum: the base, and the weights of all patterns that match.

    Attributes:
        base: the prediction where none matches, in the component's unit.
        weights: what each pattern adds.
    """

    base: float
    weights: Mapping[Key, float]

    def simulate(self, tokens: Sequence[str]) -> list[float]:
        """The sums; one for each token. It takes time proportional to the tokens."""
        weight = self.weights.get
        forms = all_forms(tokens)
        return [self.base + sum(weight(key, 0.0) for key in keys_at(forms, place)) for place in range(len(forms))]


@dataclass(frozen=True, eq=False)
class HighestPattern:
    """Predicts the mean activation of the matching pattern that has the highest, and the base where none matches.

    Attributes:
        base: the prediction where none matches, in the component's unit.
        activations: the mean activation of each pattern.
    """

    base: float
    activations: Mapping[Key, float]

    @classmethod
    def of(cls, patterns: Iterable[FoundPattern], base: float) -> HighestPattern:
        """That of found patterns."""
        return cls(base, {key: pattern.activation for pattern in patterns for key in pattern.keys.values()})

    def simulate(self, tokens: Sequence[str]) -> list[float]:
        """The highest; one for each token. It takes time proportional to the tokens."""
        activation, base, forms = self.activations, self.base, all_forms(tokens)
        return [
            max((activation[key] for key in keys_at(forms, place) if key in activation), default=base)
            for place in range(len(forms))
        ]
