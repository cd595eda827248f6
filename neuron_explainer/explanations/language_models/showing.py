"""Examples as a language model is shown them: pieces around the peak, with levels from 0 to 10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.attention_utils import attended_window, index_to_pair
from neuron_explainer.explanations.language_models.quoting import quoted

Show = Literal["marked", "listed"]
TOP_LEVEL = 10
MARKED_FROM = 3
"""From which level on a token is marked."""
MOST_PAIRS = 6
_SHARE_BEFORE = 0.75


@dataclass(frozen=True)
class ShownExample:
    """A piece of a text with levels.

    Attributes:
        tokens: the piece, token by token.
        levels: of each token, from 0 to 10, which is the highest activation of the component; (tokens,).
        pairs: of a head the strongest pairs: the positions of the token that attends and of the token that it attends
            to, and the level. The position of a token before the piece is negative.
        before: the tokens that come before the piece, the nearest last; pairs need them.
    """

    tokens: tuple[str, ...]
    levels: tuple[int, ...]
    pairs: tuple[tuple[int, int, int], ...] = ()
    before: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return "".join(self.tokens)

    def in_words(self, show: Show) -> str:
        """The piece as a question has it.

        Args:
            show: "marked": a text with marks around the tokens from level 3 on, whose levels follow; "listed": all
                tokens with their levels. Pairs are listed beneath the text either way.
        """
        active = [position for position, level in enumerate(self.levels) if level >= MARKED_FROM]
        if show == "listed" and not self.pairs:
            return _list(zip(self.tokens, self.levels, strict=True))
        text = quoted(self.tokens, active if show == "marked" else ())
        if self.pairs:
            return "\n".join([text, *(f"   {self._pair(*pair)}" for pair in self.pairs)])
        levels = _list((self.tokens[position], self.levels[position]) for position in active)
        return f"{text}\n   levels: {levels}" if active else text

    def _pair(self, attends: int, attended: int, level: int) -> str:
        one, other = (quoted([self._token(position)]) for position in (attends, attended))
        distance = attends - attended
        if distance == 0:
            return f"{one} attends to itself: {level}"
        return f"{one} attends to {other}, {distance} token{'' if distance == 1 else 's'} before it: {level}"

    def _token(self, position: int) -> str:
        return self.tokens[position] if position >= 0 else self.before[position]


def _list(rows: object) -> str:
    return f"[{', '.join(f'[{quoted([token])}, {level}]' for token, level in rows)}]"  # type: ignore[attr-defined]


def shown_example(example: ActivationRecord, highest: float, window: int, around: int | None = None) -> ShownExample:
    """A piece of an example, with the levels of its tokens, or of the strongest pairs.

    Args:
        example: the example, by token or by token pair.
        highest: the activation that has level 10.
        window: the most tokens of the piece. A quarter of them come behind the peak.
        around: the position that the piece is cut around; None: the peak, of a pair the token that attends.
    """
    values = np.asarray(example.activations, np.float64)
    if not example.is_by_token_pair:
        start, end = _span(int(np.argmax(values)) if around is None else around, len(example.tokens), window)
        levels = tuple(level_of(float(value), highest) for value in values[start:end])
        return ShownExample(tuple(example.tokens[start:end]), levels)
    columns = attended_window(len(example.tokens), len(values))
    strongest = [index_to_pair(int(index), columns) for index in np.argsort(-values, kind="stable")[:MOST_PAIRS]]
    start, end = _span(strongest[0][0] if around is None else around, len(example.tokens), window)
    levels_of = [level_of(float(value), highest) for value in np.sort(values)[::-1][:MOST_PAIRS]]
    pairs = tuple(
        (attends - start, attended - start, level)
        for (attends, attended), level in zip(strongest, levels_of, strict=True)
        if start <= attends < end and level > 0
    )
    tokens = [0] * (end - start)
    for attends, _, level in pairs:
        tokens[attends] = max(tokens[attends], level)
    return ShownExample(tuple(example.tokens[start:end]), tuple(tokens), pairs, tuple(example.tokens[:start]))


def level_of(value: float, highest: float) -> int:
    """An activation as a level: 0 for none, 10 for the highest; rounded, halves up.

    >>> level_of(0.25, 1.0), level_of(-3, 1), level_of(7, 5)
    (3, 0, 10)
    """
    return int(TOP_LEVEL * min(1.0, max(0.0, value / highest)) + 0.5)


def example_of(marked: str, **levels: int) -> ShownExample:
    """An example by hand: tokens are divided by "|", and `at3=7` gives the fourth of them level 7.

    >>> example_of("The| cat| sat", at1=9).levels
    (0, 9, 0)
    """
    tokens = tuple(marked.split("|"))
    return ShownExample(tokens, tuple(levels.get(f"at{position}", 0) for position in range(len(tokens))))


def numbered(texts: Sequence[str]) -> str:
    """Texts in lines that begin with 1., 2., …"""
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))


def _span(middle: int, n_all: int, n: int) -> tuple[int, int]:
    """From where to where a piece of at most n tokens goes: most of it before a place, which decides more."""
    before = min(n - 1, round(n * _SHARE_BEFORE))
    start = max(0, min(middle - before, n_all - n))
    return start, min(n_all, start + n)
