"""A calibration by percentiles: a simulated activation becomes the true one of the same rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class PercentileCalibration:
    """Gives a simulated activation the true activation that has the same rank, among the tokens it was fitted on.

    Both are sorted: the i-th smallest simulated value stands for the i-th smallest true one. Equal simulated values
    stand for the mean of their true ones; between two values it interpolates, and beyond the outermost it gives theirs.

    Attributes:
        simulated: the simulated values, ascending, each once; (values,).
        true: what they stand for, ascending; (values,).

    >>> PercentileCalibration.fitted(true=[5, 0, 1, 3], simulated=[9, 0, 0, 4]).of([0, 4, 6.5, 20]).tolist()
    [0.5, 3.0, 4.0, 5.0]
    """

    simulated: NDArray[np.float64]
    true: NDArray[np.float64]

    @classmethod
    def fitted(cls, true: ArrayLike, simulated: ArrayLike) -> PercentileCalibration:
        """The calibration of some tokens.

        Args:
            true: the true activations, (tokens,).
            simulated: the simulated ones, (tokens,); tokens without a prediction (NaN) are left out. Without any, the
                calibration gives 0.
        """
        t, s = np.asarray(true, np.float64), np.asarray(simulated, np.float64)
        known = np.isfinite(s) & np.isfinite(t)
        t, s = np.sort(t[known]), np.sort(s[known])
        if not len(t):
            return cls(np.zeros(1), np.zeros(1))
        values, firsts, counts = np.unique(s, return_index=True, return_counts=True)
        return cls(values, np.add.reduceat(t, firsts) / counts)

    def of(self, simulated: ArrayLike) -> NDArray[np.float64]:
        """The simulated activations in the component's unit; NaN stays NaN.

        Args:
            simulated: the simulated activations, (tokens,).
        """
        return np.interp(np.asarray(simulated, np.float64), self.simulated, self.true)
