"""Token pairs, and the flattened lower triangle that holds one number per pair.

A record of an attention head or of a token-pair latent has one activation per pair (attended from, attended to). A
token attends to itself and to earlier tokens. The pairs are stored row by row; a row is the token that attends
("attended from"), a column the token that it attends to. In a *square* record each token attends to all earlier ones:
pair (i, j) is at index i(i+1)/2 + j. In a *rectangular* record only the first m tokens are attended to: the rows have
the lengths 1, 2, …, m, m, …, and the place within a row is the token that is attended to, in every row. So a record is
a matrix (attended from, attended to) of the shape (tokens, m) without its upper triangle. Here m is the `window`.

>>> index_to_pair(4), pair_to_index(2, 1)
((2, 1), 4)
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuron_explainer.errors import InvalidRequestError


def _check_window(window: int | None, n_tokens: int = 1) -> None:
    if window is not None and window < min(1, n_tokens):  # a text without tokens has a window of 0
        raise InvalidRequestError(f"The attended-to window must have at least 1 token, not {window}.")


def n_pairs(n_tokens: int, window: int | None = None) -> int:
    """The number of pairs of a text, if its first `window` tokens are attended to (None: all).

    Raises:
        InvalidRequestError: `window` is below 1.
    """
    _check_window(window, n_tokens)
    if window is None or window >= n_tokens:
        return n_tokens * (n_tokens + 1) // 2
    return window * (window + 1) // 2 + (n_tokens - window) * window


def attended_window(n_tokens: int, n_activations: int) -> int:
    """How many tokens are attended to, the first ones, in a record with this many tokens and activations of pairs.

    It is `n_tokens` for a square record.

    Raises:
        InvalidRequestError: no window gives this many pairs.
    """
    missing = n_pairs(n_tokens) - n_activations
    beyond = (math.isqrt(8 * missing + 1) - 1) // 2 if missing >= 0 else -1
    # `beyond` = n_tokens - window rows are cut short, by 1, 2, …, `beyond` pairs
    if beyond < 0 or beyond * (beyond + 1) // 2 != missing or (beyond >= n_tokens and n_tokens > 0):
        raise InvalidRequestError(
            f"the numbers of tokens ({n_tokens}) and activations ({n_activations}) do not fit: there must be one "
            f"activation per token ({n_tokens}) or one per token pair ({n_pairs(n_tokens)}; fewer, by a triangular "
            "number, if only the first tokens are attended to)"
        )
    return n_tokens - beyond


def row_lengths(n_tokens: int, window: int | None = None) -> list[int]:
    """How many tokens each token attends to: 1, 2, …, m, m, …; (tokens,).

    Raises:
        InvalidRequestError: `window` is below 1.
    """
    _check_window(window, n_tokens)
    longest = n_tokens if window is None else window
    return [min(row + 1, longest) for row in range(n_tokens)]


def pair_to_index(attended_from: int, attended_to: int, window: int | None = None) -> int:
    """The index of the pair (attended from, attended to) in the flattened activations.

    Raises:
        InvalidRequestError: the first token does not attend to the second, or `window` is below 1.
    """
    _check_window(window)
    last = attended_from if window is None else min(attended_from, window - 1)
    if not 0 <= attended_to <= last:
        raise InvalidRequestError(f"Token {attended_from} attends to tokens 0 to {last}, not to {attended_to}.")
    return n_pairs(attended_from, window) + attended_to


def index_to_pair(index: int, window: int | None = None) -> tuple[int, int]:
    """The pair (attended from, attended to) at an index of the flattened activations.

    Raises:
        InvalidRequestError: `index` is negative, or `window` is below 1.
    """
    _check_window(window)
    if index < 0:
        raise InvalidRequestError(f"An index of flattened pairs must be 0 or more, not {index}.")
    row = (math.isqrt(8 * index + 1) - 1) // 2
    if window is None or row < window:
        return row, index - n_pairs(row)
    row, attended_to = divmod(index - n_pairs(window), window)
    return row + window, attended_to


def pairs(n_tokens: int, window: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The attended-from and the attended-to positions of all pairs, in flattened order; each (pairs,).

    Raises:
        InvalidRequestError: `window` is below 1.
    """
    lengths = np.asarray(row_lengths(n_tokens, window), dtype=np.int64)
    rows = np.arange(n_tokens, dtype=np.int64)
    attended_from = np.repeat(rows, lengths)
    starts = np.cumsum(lengths) - lengths
    return attended_from, np.arange(len(attended_from), dtype=np.int64) - np.repeat(starts, lengths)


def unflatten(activations: ArrayLike, n_tokens: int, fill: float = math.nan) -> NDArray[np.float64]:
    """The matrix (attended from, attended to) of flattened activations, square or rectangular.

    Args:
        activations: the flattened activations; (pairs,).
        n_tokens: how many tokens the text has.
        fill: the value of entries that are not pairs.

    Returns:
        The matrix; (tokens, attended-to tokens). It has at most twice as many entries as there are pairs.

    Raises:
        InvalidRequestError: the number of activations does not fit `n_tokens`.

    >>> unflatten([1, 2, 3], 2).tolist()
    [[1.0, nan], [2.0, 3.0]]
    >>> unflatten([1, 2, 3, 4, 5], 3).tolist()
    [[1.0, nan], [2.0, 3.0], [4.0, 5.0]]
    """
    flat = np.asarray(activations, dtype=np.float64)
    window = attended_window(n_tokens, len(flat))
    matrix = np.full((n_tokens, window), fill)
    matrix[pairs(n_tokens, window)] = flat
    return matrix


def flatten(matrix: ArrayLike, window: int | None = None) -> NDArray[np.float64]:
    """The flattened activations, (pairs,), of a matrix (attended from, attended to), (tokens, attended-to tokens).

    Args:
        matrix: the matrix; its upper triangle is left out.
        window: how many of the attended-to tokens to take, the first ones; None: all that the matrix has.

    Raises:
        InvalidRequestError: the matrix has more columns than rows or fewer than `window`, or `window` is below 1.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or not min(1, len(values)) <= values.shape[1] <= len(values):
        raise InvalidRequestError(
            f"A matrix of token pairs must have the shape (tokens, attended-to tokens), not {values.shape}. "
            "The tokens attended to are the first ones."
        )
    n_attended = values.shape[1] if window is None else window
    if n_attended > values.shape[1]:
        raise InvalidRequestError(f"window is {window}, but the matrix has {values.shape[1]} attended-to tokens.")
    return values[pairs(len(values), n_attended)]
