"""Token pairs and the flattened lower triangle that holds one number for each of them.

A record of an attention head or of a token-pair latent has one activation for each pair (attended from, attended to),
where a token attends to itself and to earlier ones. The pairs are laid out row by row, the row being the later token,
attended FROM. In a *square* record every token attends to all before it: pair (i, j) is at i(i+1)/2 + j. In a
*windowed* one a token attends to itself and the m-1 tokens before it: the rows are 1, 2, …, m, m, … long, and row i
begins with token max(0, i-m+1).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuron_explainer.errors import InvalidRequestError


def _check_window(window: int | None, n_tokens: int = 1) -> None:
    if window is not None and window < min(1, n_tokens):  # of no tokens, none attends
        raise InvalidRequestError(f"An attended-to window holds at least one token, not {window}.")


def n_pairs(n_tokens: int, window: int | None = None) -> int:
    """How many pairs n tokens make, each attending to itself and up to `window` - 1 earlier tokens (None: to all).

    Raises:
        InvalidRequestError: `window` is below 1.
    """
    _check_window(window, n_tokens)
    if window is None or window >= n_tokens:
        return n_tokens * (n_tokens + 1) // 2
    return window * (window + 1) // 2 + (n_tokens - window) * window


def attended_window(n_tokens: int, n_activations: int) -> int:
    """How many tokens the last one attends to in a record of this many tokens and pairs; `n_tokens` when it is square.

    Raises:
        InvalidRequestError: no window gives this many pairs.
    """
    missing = n_pairs(n_tokens) - n_activations
    beyond = (math.isqrt(8 * missing + 1) - 1) // 2 if missing >= 0 else -1
    # beyond = n_tokens - window rows are cut short, by 1, 2, …, beyond pairs
    if beyond < 0 or beyond * (beyond + 1) // 2 != missing or (beyond >= n_tokens and n_tokens > 0):
        raise InvalidRequestError(
            f"{n_tokens} tokens and {n_activations} activations fit neither one activation a token ({n_tokens}) nor "
            f"one a token pair ({n_pairs(n_tokens)}; fewer by a triangular number where the attended-to window is "
            "bounded)"
        )
    return n_tokens - beyond


def row_lengths(n_tokens: int, window: int | None = None) -> list[int]:
    """How many tokens each token attends to: 1, 2, …, m, m, …

    Raises:
        InvalidRequestError: `window` is below 1.
    """
    _check_window(window, n_tokens)
    longest = n_tokens if window is None else window
    return [min(row + 1, longest) for row in range(n_tokens)]


def pair_to_index(attended_from: int, attended_to: int, window: int | None = None) -> int:
    """Where the pair (attended from, attended to) lies in the flattened activations.

    Raises:
        InvalidRequestError: the first token does not attend to the second, or `window` is below 1.
    """
    _check_window(window)
    first = 0 if window is None else max(0, attended_from - window + 1)
    if not (0 <= first <= attended_to <= attended_from):
        raise InvalidRequestError(
            f"Token {attended_from} attends to tokens {first} to {attended_from}, not to {attended_to}."
        )
    return n_pairs(attended_from, window) + attended_to - first


def index_to_pair(index: int, window: int | None = None) -> tuple[int, int]:
    """The pair (attended from, attended to) at a place of the flattened activations.

    Raises:
        InvalidRequestError: `index` is negative, or `window` is below 1.
    """
    _check_window(window)
    if index < 0:
        raise InvalidRequestError(f"Place {index} of the flattened pairs: places count from 0.")
    row = (math.isqrt(8 * index + 1) - 1) // 2
    if window is None or row < window:
        return row, index - n_pairs(row)
    row, column = divmod(index - n_pairs(window), window)
    return row + window, row + 1 + column


def pairs(n_tokens: int, window: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The attended-from and the attended-to positions of all pairs, in their flattened order; each (pairs,).

    Raises:
        InvalidRequestError: `window` is below 1.
    """
    lengths = np.asarray(row_lengths(n_tokens, window), dtype=np.int64)
    rows = np.arange(n_tokens, dtype=np.int64)
    attended_from = np.repeat(rows, lengths)
    starts = np.cumsum(lengths) - lengths
    within_row = np.arange(len(attended_from), dtype=np.int64) - np.repeat(starts, lengths)
    return attended_from, within_row + np.repeat(rows + 1 - lengths, lengths)


def unflatten(activations: ArrayLike, n_tokens: int, fill: float = math.nan) -> NDArray[np.float64]:
    """The (attended from, attended to) matrix, (tokens, tokens), of flattened activations, square or windowed.

    Pairs that do not attend hold `fill`.

    Raises:
        InvalidRequestError: the number of activations fits no packing of `n_tokens` tokens.
    """
    flat = np.asarray(activations, dtype=np.float64)
    window = attended_window(n_tokens, len(flat))
    matrix = np.full((n_tokens, n_tokens), fill)
    matrix[pairs(n_tokens, window)] = flat
    return matrix


def flatten(matrix: ArrayLike, window: int | None = None) -> NDArray[np.float64]:
    """The flattened activations, (pairs,), of an (attended from, attended to) matrix, (tokens, tokens).

    Raises:
        InvalidRequestError: the matrix is not square, or `window` is below 1.
    """
    square = np.asarray(matrix, dtype=np.float64)
    if square.ndim != 2 or square.shape[0] != square.shape[1]:
        raise InvalidRequestError(f"A matrix of token pairs is (tokens, tokens); this one is {square.shape}.")
    return square[pairs(len(square), window)]
