"""Simulators of patterns: weights that add up, or the highest activation of the patterns that match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from neuron_explainer.explanations.patterns.found_pattern import FoundPattern
from neuron_explainer.explanations.patterns.templates import (
    LATEST,
    PLACE_TEMPLATE,
    PLACES,
    TEMPLATES,
    Key,
    all_forms,
    keys_at,
    part_indices,
)
from neuron_explainer.explanations.patterns.token_forms import BEFORE_TEXT, TokenForms

_Weights = dict[Any, float]


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
        forms = all_forms(tokens)
        sums: list[dict[TokenForms, float]] = [{} for _ in range(LATEST + 1)]
        simulated = []
        for place, own in enumerate(forms):
            total = self._of_place[min(place, PLACES[-1])]
            for back, known in enumerate(sums):  # what one token adds is looked up once for each different token
                token = own if back == 0 else forms[place - back] if back <= place else BEFORE_TEXT
                added = known.get(token)
                if added is None:
                    added = known[token] = sum(
                        weights.get(token[form], 0.0) for form, weights in self._of_one_token[back]
                    )
                total += added
            for parts, weights in self._of_several:
                key = tuple([forms[place - back][form] if back <= place else BEFORE_TEXT[form] for back, form in parts])
                total += weights.get(key, 0.0)
            simulated.append(total)
        return simulated

    @cached_property
    def _by_template(self) -> dict[int, _Weights]:
        """The weights by template; those of one part by its value, others by the values of all parts."""
        found: dict[int, _Weights] = {}
        for (template, *values), weight in self.weights.items():
            found.setdefault(template, {})[values[0] if len(values) == 1 else tuple(values)] = weight
        return found

    @cached_property
    def _of_one_token(self) -> list[list[tuple[int, _Weights]]]:
        """By how many tokens back: the forms that single tokens are looked up by, and their weights."""
        found: list[list[tuple[int, _Weights]]] = [[] for _ in range(LATEST + 1)]
        for template, weights in self._by_template.items():
            if template != PLACE_TEMPLATE and len(TEMPLATES[template].parts) == 1:
                ((back, form),) = part_indices(template)
                found[back].append((form, weights))
        return found

    @cached_property
    def _of_several(self) -> list[tuple[list[tuple[int, int]], _Weights]]:
        """The parts of patterns that look at several tokens, and their weights."""
        return [
            (part_indices(template), weights)
            for template, weights in self._by_template.items()
            if template != PLACE_TEMPLATE and len(TEMPLATES[template].parts) > 1
        ]

    @cached_property
    def _of_place(self) -> list[float]:
        """The base and what the places add, for each position up to the last place."""
        weights = self._by_template.get(PLACE_TEMPLATE, {})
        return [
            self.base + sum(weights.get((place, position < place), 0.0) for place in PLACES)
            for position in range(PLACES[-1] + 1)
        ]


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
        templates = {key[0] for key in activation}
        return [
            max((activation[key] for key in keys_at(forms, place, templates) if key in activation), default=base)
            for place in range(len(forms))
        ]
