"""A linear calibration: simulated activations, in a unit of their own, to those of the component."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class LinearCalibration:
    """slope · simulated + intercept, with the least squared error on the tokens that it was fitted on.

    Attributes:
        slope: of the component's unit in the simulator's; 0 where nothing can be told from the simulation.
        intercept: in the component's unit.

    >>> LinearCalibration.fitted(true=[1, 3, 5], simulated=[0, 1, 2])
    LinearCalibration(slope=2.0, intercept=1.0)
    """

    slope: float
    intercept: float

    @classmethod
    def fitted(cls, true: ArrayLike, simulated: ArrayLike) -> LinearCalibration:
        """The calibration with the least squared error.

        Args:
            true: the true activations, (tokens,).
            simulated: the simulated ones, (tokens,); tokens without a prediction (NaN) are left out. Where they are
                constant, the calibration gives the mean of the true activations; without any, 0.
        """
        t, s = np.asarray(true, np.float64), np.asarray(simulated, np.float64)
        known = np.isfinite(s) & np.isfinite(t)
        t, s = t[known], s[known]
        if not len(t):
            return cls(0.0, 0.0)
        centred = s - s.mean()
        exponent = int(np.frexp(np.abs(centred).max())[1])
        centred = np.ldexp(centred, -exponent)  # exact; squares of very large numbers would be infinite, of tiny ones 0
        if np.ptp(s) == 0 or not centred.any():
            return cls(0.0, float(t.mean()))
        with np.errstate(over="ignore"):
            slope = float(np.ldexp(centred @ (t - t.mean()) / float(centred @ centred), -exponent))
        if not math.isfinite(slope):
            return cls(0.0, float(t.mean()))
        return cls(slope, float(t.mean() - slope * s.mean()))

    def of(self, simulated: ArrayLike) -> NDArray[np.float64]:
        """The simulated activations in the component's unit; NaN stays NaN.

        Args:
            simulated: the simulated activations, (tokens,).
        """
        return self.slope * np.asarray(simulated, np.float64) + self.intercept
