"""Measures of agreement against hand-computed ones, and their intervals."""

import math

import numpy as np
import pytest

from neuron_explainer.explanations.scoring.measures import (
    agreement,
    auroc,
    bootstrap_interval,
    correlation,
    interval_of_texts,
)


def test_the_three_scores_are_those_of_their_definitions() -> None:
    true, simulated = np.array([0.0, 1.0, 4.0, 3.0]), np.array([1.0, 1.0, 3.0, 4.0])
    found = agreement(true, simulated)
    assert found.correlation == pytest.approx(np.corrcoef(true, simulated)[0, 1])
    # The mean is 2: squared deviations 4, 1, 4, 1; squared errors 1, 0, 1, 1. Deviations 2, 1, 2, 1; errors 1, 0, 1, 1.
    assert found.explained_variance == pytest.approx(1 - 3 / 10)
    assert found.explained_deviation == pytest.approx(1 - 3 / 6)


def test_tokens_without_a_prediction_are_left_out() -> None:
    found = agreement([0, 5, 1, 2], [0, math.nan, 1, 2])
    assert (found.correlation, found.explained_variance, found.explained_deviation) == (1, 1, 1)


@pytest.mark.parametrize(
    ("true", "simulated"), [([1, 1, 1], [0, 1, 2]), ([], []), ([1, 2], [math.nan, math.nan]), ([1.0], [1.0])]
)
def test_what_is_not_defined_is_nan(true: list[float], simulated: list[float]) -> None:
    assert math.isnan(agreement(true, simulated).correlation)


def test_a_constant_simulation_has_no_correlation_but_explains_nothing() -> None:
    found = agreement([0, 1, 2], [1, 1, 1])
    assert math.isnan(found.correlation)
    assert found.explained_variance == 0


def test_a_correlation_is_within_its_bounds_whatever_the_scale() -> None:
    x = np.array([1e-160, 2e-160, 4e-160])
    assert correlation(x, x) == pytest.approx(1)
    assert correlation(1e150 * np.arange(3.0), -np.arange(3.0)) == pytest.approx(-1)


def test_the_roc_area_counts_pairs() -> None:
    random = np.random.default_rng(0)
    positive, values = random.random(60) < 0.4, random.integers(0, 8, 60)
    pairs = [(p > n) + 0.5 * (p == n) for p in values[positive] for n in values[~positive]]
    assert auroc(positive, values) == pytest.approx(np.mean(pairs))
    assert math.isnan(auroc([True, True], [1, 2]))
    assert math.isnan(auroc([], []))


def test_intervals_hold_the_value_and_are_the_same_each_time() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=200)
    low, high = bootstrap_interval(lambda numbers: float(values[numbers].mean()), len(values))
    error = values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.4 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.4 * error)
    assert (low, high) == bootstrap_interval(lambda numbers: float(values[numbers].mean()), len(values))
    assert all(map(math.isnan, bootstrap_interval(lambda numbers: 0.0, 1)))
    assert all(map(math.isnan, bootstrap_interval(lambda numbers: math.nan, 5)))


def test_texts_are_drawn_as_wholes() -> None:
    """Two texts that agree each by itself, and not together: tokens drawn one by one would never correlate fully."""
    true, simulated = [[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [5.0, 6.0]]
    low, high = interval_of_texts(correlation, true, simulated)
    assert high == pytest.approx(1)
    assert low < 0.5


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-170, 1e300])
def test_constant_activations_have_no_scores_however_their_mean_is_rounded(value: float) -> None:
    found = agreement([value] * 3, [0, 1, 2])
    assert all(map(math.isnan, (found.correlation, found.explained_variance, found.explained_deviation)))


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1, 65504, 1e300, 1.7e308 / 4])
def test_scores_do_not_depend_on_the_unit(scale: float) -> None:
    true, simulated = np.array([0.0, 1.0, 4.0, 3.0]), np.array([1.0, 1.0, 3.0, 4.0])
    found, same = agreement(scale * true, scale * simulated), agreement(true, simulated)
    assert found.correlation == pytest.approx(same.correlation)
    assert found.explained_variance == pytest.approx(same.explained_variance)
    assert found.explained_deviation == pytest.approx(same.explained_deviation)


def test_tiny_activations_have_a_correlation_with_large_simulated_ones() -> None:
    assert agreement([0, 1e-300, 2e-300], [0, 1e300, 1.5e300]).correlation == pytest.approx(0.9819805)
