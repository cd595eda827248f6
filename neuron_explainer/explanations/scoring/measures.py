"""Measures of how well predictions agree with what is true, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True)
class AgreementScores:
    """How well simulated activations predict the true ones; 1 is perfect, NaN is not defined.

    OpenAI's three scores (Bills et al., "Language models can explain neurons in language models", 2023), with m the
    mean of the true activations t, and s the simulated ones.

    Attributes:
        correlation: Pearson's, of t and s.
        explained_variance: 1 - mean((t - s)²) / mean((t - m)²).
        explained_deviation: 1 - mean(|t - s|) / mean(|t - m|).
    """

    correlation: float
    explained_variance: float
    explained_deviation: float

    def by_name(self) -> dict[str, float]:
        """The scores by their names, as tables have them."""
        return {name.replace("_", " "): value for name, value in asdict(self).items()}


def agreement(true: ArrayLike, simulated: ArrayLike) -> AgreementScores:
    """How well simulated activations predict the true ones, over the tokens of all texts.

    Args:
        true: the true activations, (tokens,).
        simulated: the simulated ones, (tokens,); tokens without a prediction (NaN) are left out.

    >>> agreement([0, 1, 2, 3], [0, 1, 2, 3]).correlation
    1.0
    """
    t, s = np.asarray(true, np.float64), np.asarray(simulated, np.float64)
    known = np.isfinite(s)
    t, s = t[known], s[known]
    if not len(t):
        return AgreementScores(math.nan, math.nan, math.nan)
    if np.ptp(t / 2) == 0:  # and not by the variance, which rounding leaves above 0
        return AgreementScores(math.nan, math.nan, math.nan)
    scale = float(np.abs(t).max())  # squares of tiny numbers would be 0, and those of very large ones infinite
    deviation = t / scale - (t / scale).mean()
    with np.errstate(over="ignore"):
        error = t / scale - s / scale
        squares, errors = float(np.mean(error**2)), float(np.mean(np.abs(error)))
    return AgreementScores(
        correlation(t, s),
        1 - squares / float(np.mean(deviation**2)),
        1 - errors / float(np.mean(np.abs(deviation))),
    )


def correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Pearson's correlation; NaN where one of them is constant."""
    x, y = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if len(x) < 2 or np.ptp(x / 2) == 0 or np.ptp(y / 2) == 0:
        return math.nan
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # sums of very large numbers would be infinite
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of tiny numbers would be 0
    return float(np.clip(x @ y / math.sqrt(float(x @ x) * float(y @ y)), -1, 1))


def auroc(is_positive: ArrayLike, values: ArrayLike) -> float:
    """The area under the ROC curve: how often a positive has a higher value than a negative; ties count half.

    It is NaN without positives, or without negatives.

    >>> auroc([True, True, False, False], [0.9, 0.4, 0.4, 0.1])
    0.875
    """
    positive, scores = np.asarray(is_positive, bool), np.asarray(values, np.float64)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return math.nan
    ranks = pandas.Series(scores).rank().to_numpy()
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def bootstrap_interval(
    measure: Callable[[NDArray[np.int64]], float], n: int, resamples: int = RESAMPLES, seed: int = _SEED
) -> tuple[float, float]:
    """From where to where 95 % of a measure's values lie when examples are drawn anew with replacement.

    Args:
        measure: gives its value for the numbers of some examples; NaN where it is not defined.
        n: how many examples there are.
        resamples: how often they are drawn.
        seed: of the draws.

    Returns:
        The 2.5th and the 97.5th percentile; NaN if the measure is never defined, or of fewer than two examples.
    """
    if n < 2:
        return math.nan, math.nan
    random = np.random.default_rng(seed)
    values = np.array([measure(random.integers(0, n, n)) for _ in range(resamples)])
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def interval_of_texts(
    measure: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    true: Sequence[Sequence[float]],
    simulated: Sequence[Sequence[float]],
) -> tuple[float, float]:
    """The interval of a measure over tokens, where whole texts are drawn anew: tokens of one text go together."""
    trues = [np.asarray(each, np.float64) for each in true]
    simulations = [np.asarray(each, np.float64) for each in simulated]

    def of(numbers: NDArray[np.int64]) -> float:
        return measure(
            np.concatenate([trues[number] for number in numbers]),
            np.concatenate([simulations[number] for number in numbers]),
        )

    return bootstrap_interval(of, len(trues))
