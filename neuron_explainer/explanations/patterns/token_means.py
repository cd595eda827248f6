"""The mean activation of each token, pulled towards that of its word, and that towards the mean of all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.patterns.templates import all_forms
from neuron_explainer.explanations.patterns.token_forms import TokenForms
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens

T = TypeVar("T", bound=Hashable)

_SHRINKAGE = 1.0
"""The mean of what a token is pulled towards counts as much as so many tokens."""


@dataclass(frozen=True, eq=False)
class TokenMeans:
    """Predicts the mean activation of the token, else that of its word (its case and spaces left out), else the base.

    Attributes:
        of_token: the means, by token.
        of_word: the means, by word.
        base: the prediction of other tokens, in the component's unit.
    """

    of_token: Mapping[str, float]
    of_word: Mapping[str, float]
    base: float

    @classmethod
    def of(cls, training: TrainingTokens) -> TokenMeans:
        """The means of the tokens that an explanation is written from.

        With n activations of sum s, and the mean m of what is wider, a mean is (s + m) / (n + 1).
        """
        forms = forms_of_training(training)
        base = float(training.activation.mean())
        words = _grouped([each.word for each in forms], training.activation)
        of_word = {word: _mean(values, base) for word, values in words.items()}
        tokens = _grouped(forms, training.activation)
        of_token = {each.token: _mean(values, of_word[each.word]) for each, values in tokens.items()}
        return cls(of_token, of_word, base)

    def simulate(self, tokens: Sequence[str]) -> list[float]:
        """The means; one for each token."""
        return [
            self.of_token[each.token] if each.token in self.of_token else self.of_word.get(each.word, self.base)
            for each in all_forms(tokens)
        ]


def forms_of_training(training: TrainingTokens) -> list[TokenForms]:
    """The training tokens in all their forms."""
    return all_forms([training.token(number) for number in range(len(training.activation))])


def _grouped(of: Sequence[T], activation: NDArray[np.float64]) -> dict[T, list[float]]:
    groups: dict[T, list[float]] = {}
    for each, value in zip(of, activation.tolist(), strict=True):
        groups.setdefault(each, []).append(value)
    return groups


def _mean(values: list[float], wider: float) -> float:
    return (sum(values) + _SHRINKAGE * wider) / (len(values) + _SHRINKAGE)
