"""What makes vectors of texts: a function, or an object with `encode`; and its answers, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.errors import InvalidRequestError, shown


@runtime_checkable
class TextEncoder(Protocol):
    """What has `encode`, as sentence-transformers' models have."""

    def encode(self, texts: list[str], /) -> Any:
        """A vector for each text: (texts, width)."""
        ...


Embedder = TextEncoder | Callable[[list[str]], Any]
"""Gives a vector for each text, as an array (texts, width) of NumPy or torch, or as lists."""


def checked_embedder(embedder: object) -> Callable[[list[str]], Any]:
    """The function that makes vectors of texts.

    Raises:
        InvalidRequestError: it is none.
    """
    if not isinstance(embedder, type):
        if isinstance(embedder, TextEncoder):
            return embedder.encode
        if callable(embedder):
            return embedder
    raise InvalidRequestError(
        f"embedder is {shown(embedder)}. Give a function of a list of texts that gives an array (texts, width), an "
        "object with such a method `encode`, such as a SentenceTransformer(…), or None for MiniLM."
    )


def unit_vectors(embedder: Callable[[list[str]], Any], texts: Sequence[str]) -> NDArray[np.float64]:
    """The texts' vectors, each with length 1; one of zeros stays so. (texts, width).

    Args:
        embedder: makes them.
        texts: the texts.

    Raises:
        InvalidRequestError: it gives something else than one vector of finite numbers for each text.
    """
    found = embedder(list(texts))
    if hasattr(found, "detach"):  # a tensor, maybe on a GPU
        found = found.detach().cpu().float().numpy()
    try:
        vectors = np.asarray(found, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequestError(f"The embedder gave something else than an array of numbers: {error}") from None
    if vectors.ndim != 2 or len(vectors) != len(texts) or not vectors.shape[1]:
        raise InvalidRequestError(
            f"The embedder gave an array of shape {vectors.shape} for {len(texts)} texts. It must be (texts, width)."
        )
    if not np.isfinite(vectors).all():
        wrong = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise InvalidRequestError(f"The embedder gave NaN or infinity for the text {shown(texts[wrong])}.")
    largest = np.abs(vectors).max(1, keepdims=True)  # of very large numbers the squares would overflow
    vectors = vectors / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
