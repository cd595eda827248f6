"""Token pairs and the flattened lower triangle, against a plain loop over all pairs."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_explainer.activations.attention_utils import (
    attended_window,
    flatten,
    index_to_pair,
    n_pairs,
    pair_to_index,
    pairs,
    row_lengths,
    unflatten,
)
from neuron_explainer.errors import InvalidRequestError

SIZES = st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


def pairs_by_loop(n_tokens: int, window: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n_tokens) for j in range(n_tokens) if j <= i and j < window]


def test_the_layouts_by_hand():
    assert pairs_by_loop(3, 3) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    assert [index_to_pair(place) for place in range(6)] == pairs_by_loop(3, 3)
    # four tokens, of which the first two are attended to: the lower triangle of a matrix of 4 rows and 2 columns
    rectangular = list(zip(*(axis.tolist() for axis in np.tril_indices(4, 0, 2)), strict=True))
    assert rectangular == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert [index_to_pair(place, attended_window(4, 7)) for place in range(7)] == rectangular
    assert row_lengths(5, 3) == [1, 2, 3, 3, 3]
    assert row_lengths(3) == [1, 2, 3]
    assert pair_to_index(9, 4) == 9 * 10 // 2 + 4


@pytest.mark.parametrize(
    ("n_tokens", "n_activations", "window"),
    [(10, 55, 10), (12, 50, 5), (9, 35, 5), (8, 30, 5), (50, 240, 5), (1, 1, 1), (2, 2, 1), (0, 0, 0)],
)
def test_the_window_follows_from_the_counts(n_tokens, n_activations, window):
    assert attended_window(n_tokens, n_activations) == window


@pytest.mark.parametrize(("n_tokens", "n_activations"), [(15, 17), (10, 56), (10, 53), (3, 0), (1, 0), (0, 1), (5, -1)])
def test_counts_that_do_not_fit_are_refused(n_tokens, n_activations):
    with pytest.raises(InvalidRequestError, match=rf"tokens \({n_tokens}\) and activations \({n_activations}\)"):
        attended_window(n_tokens, n_activations)


@given(SIZES)
def test_indices_and_pairs_round_trip(size):
    n_tokens, window = size
    expected = pairs_by_loop(n_tokens, window)
    assert n_pairs(n_tokens, window) == len(expected) == sum(row_lengths(n_tokens, window))
    assert attended_window(n_tokens, len(expected)) == window
    assert [index_to_pair(place, window) for place in range(len(expected))] == expected
    assert [pair_to_index(*pair, window) for pair in expected] == list(range(len(expected)))
    assert list(zip(*map(np.ndarray.tolist, pairs(n_tokens, window)), strict=True)) == expected
    values = np.arange(1.0, len(expected) + 1)
    matrix = unflatten(values, n_tokens)
    assert matrix.shape == (n_tokens, window)
    for i in range(n_tokens):
        for j in range(window):
            wanted = values[expected.index((i, j))] if (i, j) in expected else np.nan
            np.testing.assert_equal(matrix[i, j], wanted)
    np.testing.assert_array_equal(flatten(matrix), values)
    padded = np.pad(matrix, ((0, 0), (0, n_tokens - window)))
    np.testing.assert_array_equal(flatten(padded, window), values)


def test_a_long_text_with_few_attended_tokens_takes_little_memory():
    n_tokens = 20_000
    tracemalloc.start()
    try:
        matrix = unflatten(np.ones(n_pairs(n_tokens, 2)), n_tokens)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert matrix.shape == (n_tokens, 2)
    assert np.isnan(matrix).sum() == 1


@given(st.integers(1, 60), st.integers(-2, 2000))
def test_only_counts_of_some_window_are_accepted(n_tokens, n_activations):
    windows = {n_pairs(n_tokens, window): window for window in range(1, n_tokens + 1)}
    if n_activations in windows:
        assert attended_window(n_tokens, n_activations) == windows[n_activations]
    else:
        with pytest.raises(InvalidRequestError):
            attended_window(n_tokens, n_activations)


def test_large_counts_are_exact():
    n_tokens = 3_000_000_000
    assert attended_window(n_tokens, n_pairs(n_tokens) - 3) == n_tokens - 2
    assert index_to_pair(n_pairs(n_tokens) - 1) == (n_tokens - 1, n_tokens - 1)
    assert index_to_pair(n_pairs(n_tokens)) == (n_tokens, 0)


@pytest.mark.parametrize(
    ("attended_from", "attended_to", "window"), [(1, 2, None), (1, -1, None), (5, 2, 2), (-1, -1, None)]
)
def test_pairs_that_do_not_attend(attended_from, attended_to, window):
    with pytest.raises(InvalidRequestError):
        pair_to_index(attended_from, attended_to, window)


def test_invalid_matrices_and_indices_are_refused():
    for matrix in (np.zeros((2, 3)), np.zeros(4), np.zeros((3, 0))):
        with pytest.raises(InvalidRequestError, match="tokens, attended-to tokens"):
            flatten(matrix)
    with pytest.raises(InvalidRequestError, match="window is 3"):
        flatten(np.zeros((4, 2)), window=3)
    with pytest.raises(InvalidRequestError, match="at least 1"):
        flatten(np.zeros((2, 2)), window=0)
    with pytest.raises(InvalidRequestError):
        index_to_pair(-1)
    with pytest.raises(InvalidRequestError):
        unflatten([1.0, 2.0], 3)


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_has_at_least_one_token(window):
    for use in (
        lambda: n_pairs(3, window),
        lambda: row_lengths(3, window),
        lambda: pairs(3, window),
        lambda: pair_to_index(1, 1, window),
        lambda: index_to_pair(5, window),
        lambda: flatten(np.eye(3), window),
    ):
        with pytest.raises(InvalidRequestError, match="at least 1"):
            use()
