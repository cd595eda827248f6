"""Which training token matches which pattern, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.patterns.templates import Key, all_forms, keys_at
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens


@dataclass(frozen=True, eq=False)
class PatternMatrix:
    """The patterns that occur in training tokens, as a sparse matrix of tokens and patterns.

    Attributes:
        keys: the patterns; (patterns,).
        rows, columns: the token and the pattern of each match, by token; (matches,).
        n_tokens: how many tokens there are.
    """

    keys: list[Key]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    n_tokens: int

    @classmethod
    def of(cls, training: TrainingTokens) -> PatternMatrix:
        """The patterns that the tokens match."""
        numbers: dict[Key, int] = {}
        columns: list[int] = []
        n_of_token: list[int] = []
        forms = [all_forms(text) for text in training.texts]
        for text, position in zip(training.text.tolist(), training.position.tolist(), strict=True):
            before = len(columns)
            columns += [numbers.setdefault(key, len(numbers)) for key in keys_at(forms[text], position)]
            n_of_token.append(len(columns) - before)
        rows = np.repeat(np.arange(len(n_of_token)), n_of_token)
        return cls(list(numbers), rows, np.array(columns, np.int64), len(n_of_token))

    def by_pattern(self, of_tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of a number of tokens over the tokens that each pattern matches; (patterns,)."""
        return np.bincount(self.columns, of_tokens[self.rows], len(self.keys))

    def by_token(self, of_patterns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of a number of patterns over the patterns that each token matches; (tokens,)."""
        return np.bincount(self.rows, of_patterns[self.columns], self.n_tokens)
