"""Which patterns explain the high activations: few, short, and seldom elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.patterns.found_pattern import FoundPattern, found_pattern
from neuron_explainer.explanations.patterns.matrix import PatternMatrix
from neuron_explainer.explanations.patterns.templates import PLACE_TEMPLATE, TEMPLATES, Key
from neuron_explainer.explanations.patterns.training_tokens import SHARE_OF_TOP, TrainingTokens

_LOW = 0.25
"""Below this share of the top, a match is wholly wrong; from there to half of the top, less and less so."""
_COSTS_OF_WRONG = (2.0, 0.5)
"""What a wrong match costs, where one of the height of the top gains 1; at first, and for what is then left."""
_MOST_GAIN = 1.5
_MOST_HIGH = 0.8
"""Where more of the tokens have a high activation, it is about the same everywhere, and no pattern says why."""
_MOST_PATTERNS = 60


def find_patterns(training: TrainingTokens, matrix: PatternMatrix) -> list[FoundPattern]:
    """Patterns that cover the high activations: each time the one that gains most on those not yet covered.

    A pattern gains the height of each high activation that it covers first, as a share of the top, and loses what its
    wrong matches and its words cost. Patterns that differ in this token alone become one, with alternatives.

    Args:
        training: the tokens.
        matrix: which token matches which pattern.

    Returns:
        The patterns, that which explains most first.
    """
    share = training.activation / training.top
    gain = np.where(training.is_high, np.minimum(share, _MOST_GAIN), 0.0)
    wrong = matrix.by_pattern(np.clip((SHARE_OF_TOP - share) / (SHARE_OF_TOP - _LOW), 0.0, 1.0))
    told = _told(training, matrix)
    if not len(told) or training.is_high.mean() > _MOST_HIGH:
        return []
    matches, found = _Matches(matrix, told), list[int]()
    for cost_of_wrong in _COSTS_OF_WRONG:
        lost = matrix.cost[told] + cost_of_wrong * wrong[told]
        while len(found) < _MOST_PATTERNS:
            worth = matches.sums(gain) - lost
            best = int(np.argmax(worth))
            if worth[best] <= 0:
                break
            found.append(best)
            gain[matches.tokens(best)] = 0
    return _merged({int(told[index]): matches.tokens(index) for index in found}, training, matrix)


class _Matches:
    """The tokens that some of the patterns match."""

    def __init__(self, matrix: PatternMatrix, patterns: NDArray[np.int64]) -> None:
        index = np.full(len(matrix.template), -1)
        index[patterns] = np.arange(len(patterns))
        own = index[matrix.columns]
        kept = np.flatnonzero(own >= 0)
        kept = kept[np.argsort(own[kept], kind="stable")]
        self._columns, self._rows, self._n = own[kept], matrix.rows[kept], len(patterns)
        self._starts = np.searchsorted(self._columns, np.arange(self._n + 1))

    def tokens(self, index: int) -> NDArray[np.int64]:
        """The numbers of the tokens that a pattern matches."""
        return self._rows[self._starts[index] : self._starts[index + 1]]

    def sums(self, of_tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of a number of tokens over the matches of each pattern."""
        return np.bincount(self._columns, of_tokens[self._rows], self._n).astype(np.float64, copy=False)


def _told(training: TrainingTokens, matrix: PatternMatrix) -> NDArray[np.int64]:
    """The patterns that can be told: those that match a high activation, in enough different tokens."""
    at_high = training.is_high[matrix.rows]
    columns, tokens = matrix.columns[at_high], matrix.token[matrix.rows[at_high]]
    different = np.unique(columns * (int(matrix.token.max()) + 1) + tokens) // (int(matrix.token.max()) + 1)
    n_words = np.bincount(different, minlength=len(matrix.template))
    return np.flatnonzero((n_words >= matrix.n_words_needed) & np.isfinite(matrix.cost))


def _merged(found: dict[int, NDArray[np.int64]], training: TrainingTokens, matrix: PatternMatrix) -> list[FoundPattern]:
    """The patterns, where those that differ in this token alone are one; that which explains most first."""
    keys, groups = matrix.keys(np.fromiter(found, np.int64)), dict[Key, list[int]]()
    for number in found:
        groups.setdefault(_without_this_token(keys[number]), []).append(number)
    patterns = [
        found_pattern(
            {number: keys[number] for number in numbers},
            np.unique(np.concatenate([found[number] for number in numbers])),
            training,
        )
        for numbers in groups.values()
    ]
    return sorted(patterns, key=lambda each: -each.support * each.activation)


def _without_this_token(key: Key) -> Key:
    """What patterns must share to be told as one: all but this token."""
    if key[0] == PLACE_TEMPLATE:
        return key
    parts = TEMPLATES[key[0]].parts
    return (key[0], *(None if back == 0 else value for (back, _), value in zip(parts, key[1:], strict=True)))
