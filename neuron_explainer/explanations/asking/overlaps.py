"""Texts that share a long piece, as windows of one document do: what is known of one is known of the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHORTEST_RUN = 8
"""A piece of fewer tokens is nobody's: many texts have it."""
_Gram = tuple[str, ...]


class SeenTexts:
    """Texts that were seen. Another one shares a piece with one of them if at least half of the shorter one is in both.

    The piece must be one, and have at least eight tokens.

    >>> seen = SeenTexts([list("one window of a text")])
    >>> seen.shares(list("window of a text, and more")), seen.shares(list("a text of its own"))
    (True, False)
    """

    def __init__(self, texts: Iterable[Sequence[str]] = ()) -> None:
        self._lengths: list[int] = []
        self._texts_of: dict[_Gram, set[int]] = {}
        self.add(texts)

    def add(self, texts: Iterable[Sequence[str]]) -> None:
        """See some more."""
        for tokens in texts:
            for gram in _grams(tokens):
                self._texts_of.setdefault(gram, set()).add(len(self._lengths))
            self._lengths.append(len(tokens))

    def shares(self, tokens: Sequence[str]) -> bool:
        """Whether a text shares a piece with one that was seen.

        Args:
            tokens: the text, token by token.
        """
        lengths: dict[int, int] = {}  # for each text that has the latest tokens: how many of them
        for gram in _grams(tokens):
            lengths = {text: lengths.get(text, SHORTEST_RUN - 1) + 1 for text in self._texts_of.get(gram, ())}
            if any(2 * run >= min(len(tokens), self._lengths[text]) for text, run in lengths.items()):
                return True
        return False


def _grams(tokens: Sequence[str]) -> Iterable[_Gram]:
    """The pieces of eight tokens."""
    return (tuple(tokens[at : at + SHORTEST_RUN]) for at in range(len(tokens) - SHORTEST_RUN + 1))
