"""The texts of a record in pages, so that a page of long texts stays quick."""

from collections.abc import Sequence

from neuron_explainer.activations.records import ActivationRecord

ENTRIES_ON_PAGE = 2_000
"""Tokens, or pairs of tokens, on a page; it has at least one text, or one part as long as the model reads at once."""

_OF_TEXT, _OF_PAIRS = 8, 16
"""What the frame of a text is worth, in tokens; and the list of its strongest pairs."""
_CHARACTERS = 24
"""How many characters are worth a token."""


def pages_of(texts: Sequence[ActivationRecord], entries: int = ENTRIES_ON_PAGE) -> list[list[ActivationRecord]]:
    """The texts in order, in pages.

    Args:
        texts: the texts.
        entries: how many tokens a page has at most; of texts with a value for each pair, pairs times eight. What
            is around a text counts as some tokens more, and a long token as several.

    >>> [len(page) for page in pages_of([ActivationRecord(["a", "b"], [1.0, 2.0])] * 3, entries=20)]
    [2, 1]
    """
    pages: list[list[ActivationRecord]] = []
    left = 0
    for text in texts:
        n_tokens = len(text.tokens)
        size = n_tokens + _OF_TEXT + sum(map(len, text.tokens)) // _CHARACTERS
        if len(text.activations) != n_tokens:
            size += max(0, len(text.activations) // 8 - n_tokens) + _OF_PAIRS
        if not pages or size > left:
            pages.append([])
            left = entries
        pages[-1].append(text)
        left -= size
    return pages
