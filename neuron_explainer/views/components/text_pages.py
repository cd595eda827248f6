"""The texts of a record in pages, so that a page of long texts stays quick."""

from collections.abc import Sequence

from neuron_explainer.activations.records import ActivationRecord

ENTRIES_ON_PAGE = 2_000
"""Tokens, or pairs of tokens, on a page; it has at least one text, or one part as long as the model reads at once."""


def pages_of(texts: Sequence[ActivationRecord], entries: int = ENTRIES_ON_PAGE) -> list[list[ActivationRecord]]:
    """The texts in order, in pages.

    Args:
        texts: the texts.
        entries: how many tokens a page has at most; of texts with a value for each pair, pairs times eight.

    >>> [len(page) for page in pages_of([ActivationRecord(["a", "b"], [1.0, 2.0])] * 3, entries=4)]
    [2, 1]
    """
    pages: list[list[ActivationRecord]] = []
    left = 0
    for text in texts:
        n_tokens = len(text.tokens)
        size = n_tokens if len(text.activations) == n_tokens else max(n_tokens, len(text.activations) // 8)
        if not pages or size > left:
            pages.append([])
            left = entries
        pages[-1].append(text)
        left -= size
    return pages
