"""Which patterns explain the high activations: few, short, and seldom elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.patterns.found_pattern import FoundPattern, found_pattern
from neuron_explainer.explanations.patterns.matrix import PatternMatrix
from neuron_explainer.explanations.patterns.templates import PLACE_TEMPLATE, TEMPLATES, Key, cost_of
from neuron_explainer.explanations.patterns.training_tokens import SHARE_OF_TOP, TrainingTokens

_LOW = 0.25
"""Below this share of the top, a match is wholly wrong; from there to half of the top, less and less so."""
_COSTS_OF_WRONG = (2.0, 0.5)
"""What a wrong match costs, where one of the height of the top gains 1; at first, and for what is then left."""
_MOST_PATTERNS = 60
_N_WORDS_OF_PLACE = 4


def find_patterns(training: TrainingTokens, matrix: PatternMatrix) -> list[FoundPattern]:
    """Patterns that cover the high activations: each time the one that gains most on those not yet covered.

    A pattern gains the height of each high activation that it covers first, as a share of the top, and loses what its
    wrong matches and its words cost. Alternatives that differ in one token become one pattern.

    Args:
        training: the tokens.
        matrix: which token matches which pattern.

    Returns:
        The patterns, that which explains most first.
    """
    share = training.activation / training.top
    high = training.is_high
    gain = np.where(high, np.minimum(share, 1.5), 0.0)
    wrong = matrix.by_pattern(np.clip((SHARE_OF_TOP - share) / (SHARE_OF_TOP - _LOW), 0.0, 1.0))
    candidates = np.unique(matrix.columns[high[matrix.rows]])
    costs = np.array([_cost(matrix.keys[number]) for number in candidates])
    candidates, costs = candidates[np.isfinite(costs)], costs[np.isfinite(costs)]
    matches = _Matches(matrix, candidates)
    enough = np.array([matches.n_words(index, training, high) for index in range(len(candidates))])
    needed = np.array([_n_words_needed(matrix.keys[number]) for number in candidates])
    candidates_kept = enough >= needed
    found: list[Key] = []
    tokens_of: dict[Key, NDArray[np.int64]] = {}
    for cost_of_wrong in _COSTS_OF_WRONG:
        lost = costs + cost_of_wrong * wrong[candidates]
        while len(found) < _MOST_PATTERNS:
            worth = np.where(candidates_kept, matches.sums(gain) - lost, -np.inf)
            best = int(np.argmax(worth)) if len(worth) else 0
            if not len(worth) or worth[best] <= 0:
                break
            key = matrix.keys[candidates[best]]
            found.append(key)
            tokens_of[key] = matches.tokens(best)
            gain = gain.copy()
            gain[tokens_of[key]] = 0
    return _merged(found, tokens_of, training)


class _Matches:
    """The tokens that the candidates match."""

    def __init__(self, matrix: PatternMatrix, candidates: NDArray[np.int64]) -> None:
        index = np.full(len(matrix.keys), -1)
        index[candidates] = np.arange(len(candidates))
        kept = index[matrix.columns] >= 0
        columns, rows = index[matrix.columns[kept]], matrix.rows[kept]
        order = np.argsort(columns, kind="stable")
        self._columns, self._rows = columns[order], rows[order]
        self._starts = np.searchsorted(self._columns, np.arange(len(candidates) + 1))
        self._n = len(candidates)

    def tokens(self, index: int) -> NDArray[np.int64]:
        return self._rows[self._starts[index] : self._starts[index + 1]]

    def sums(self, of_tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self._columns, of_tokens[self._rows], self._n)

    def n_words(self, index: int, training: TrainingTokens, high: NDArray[np.bool_]) -> int:
        """In how many different tokens with high activations it fires; counted up to four."""
        words: set[str] = set()
        for number in self.tokens(index).tolist():
            if high[number]:
                words.add(training.token(number))
                if len(words) == _N_WORDS_OF_PLACE:
                    break
        return len(words)


def _cost(key: Key) -> float:
    cost = cost_of(key)
    return np.inf if cost is None else cost


def _n_words_needed(key: Key) -> int:
    return _N_WORDS_OF_PLACE if key[0] == PLACE_TEMPLATE else TEMPLATES[key[0]].n_words


def _merged(
    found: list[Key], tokens_of: dict[Key, NDArray[np.int64]], training: TrainingTokens
) -> list[FoundPattern]:
    """The patterns, where those that differ in this token alone are one; that which explains most first."""
    groups: dict[Key, list[Key]] = {}
    for key in found:
        groups.setdefault(_without_this_token(key), []).append(key)
    patterns = [
        found_pattern(keys, np.unique(np.concatenate([tokens_of[key] for key in keys])), training)
        for keys in groups.values()
    ]
    return sorted(patterns, key=lambda each: -each.support * each.activation)


def _without_this_token(key: Key) -> Key:
    """What patterns must share to be told as one: all but this token."""
    if key[0] == PLACE_TEMPLATE:
        return key
    parts = TEMPLATES[key[0]].parts
    return (key[0], *(None if back == 0 else value for (back, _), value in zip(parts, key[1:], strict=True)))
