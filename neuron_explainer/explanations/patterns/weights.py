"""The weights of patterns, by ridge regression: their sum predicts the activation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.patterns.matrix import PatternMatrix

_MOST_STEPS = 60
_ENOUGH = 1e-3


def ridge_weights(
    matrix: PatternMatrix, activation: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The weights w and the mean m with the least Σ (activation - m - Σ w)² + Σ w² / prior.

    This is the posterior mean where weights are normal with the variances `prior`, and the noise has variance 1. It is
    found by conjugate gradients over the tokens.

    Args:
        matrix: which token matches which pattern.
        activation: of the tokens; (tokens,).
        prior: the prior variances of the weights; (patterns,).

    Returns:
        The weights, (patterns,), and the mean of the activations.
    """
    mean = float(activation.mean())
    rest = activation - mean
    exponent = int(np.frexp(np.abs(rest).max(initial=0.0))[1])
    rest = np.ldexp(rest, -exponent)  # exact; squares of very large numbers would be infinite
    solution, step = np.zeros_like(rest), rest.copy()
    size = float(rest @ rest)
    enough = _ENOUGH**2 * size
    for _ in range(_MOST_STEPS):
        if size <= enough:
            break
        image = matrix.by_token(prior * matrix.by_pattern(step)) + step
        length = size / float(step @ image)
        solution += length * step
        rest = rest - length * image
        size, before = float(rest @ rest), size
        step = rest + size / before * step
    return np.ldexp(prior * matrix.by_pattern(solution), exponent), mean
