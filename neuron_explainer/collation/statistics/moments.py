"""Mean, variance, skewness and kurtosis of every component, in one pass over the values in any order.

Central power sums are merged by Pébay's formulas (Formulas for robust, one-pass parallel computation of covariances and
arbitrary-order statistical moments, Sandia report SAND2008-6212, 2008). The merge is associative up to rounding in
float64; batches, workers and resumed runs all use it.
"""

import copy
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from neuron_explainer.collation.statistics.scratch import Scratch

_LARGEST_UNSCALED_EXPONENT = 16
"""Deviations up to 2^16, and no smaller than 2^-16, have fourth powers that float32 holds as they are."""


@dataclass
class Moments:
    """Number and mean of each component's values, and sums of the powers 2, 3 and 4 of the deviations from the mean."""

    count: Float64[Tensor, " components"]
    mean: Float64[Tensor, " components"]
    m2: Float64[Tensor, " components"]
    m3: Float64[Tensor, " components"]
    m4: Float64[Tensor, " components"]

    @classmethod
    def empty(cls, n_components: int, device: torch.device) -> "Moments":
        """The moments of no values."""
        return cls(*(torch.zeros(n_components, dtype=torch.float64, device=device) for _ in fields(cls)))

    def merge(self, other: "Moments") -> "Moments":
        """The moments of the values of both."""
        count = self.count + other.count
        safe = count.clamp_min(1)
        delta = other.mean - self.mean
        part, rest = other.count / safe, self.count / safe  # the shares of both in the whole
        return Moments(
            count=count,
            mean=self.mean + delta * part,
            m2=self.m2 + other.m2 + delta**2 * self.count * part,
            m3=(
                self.m3
                + other.m3
                + delta**3 * self.count * part * (rest - part)
                + 3 * delta * (rest * other.m2 - part * self.m2)
            ),
            m4=(
                self.m4
                + other.m4
                + delta**4 * self.count * part * (rest**2 - rest * part + part**2)
                + 6 * delta**2 * (rest**2 * other.m2 + part**2 * self.m2)
                + 4 * delta * (rest * other.m3 - part * self.m3)
            ),
        )

    def statistics(self) -> Float64[Tensor, "components 4"]:
        """Mean, variance (of the population), skewness and kurtosis (3 for a normal distribution).

        A statistic that is undefined is NaN: all of no values, skewness and kurtosis of values that are all equal.
        """
        count = torch.where(self.count > 0, self.count, torch.nan)
        variance = self.m2 / count
        spread = torch.where(variance > 0, variance, torch.nan)
        return torch.stack(
            [
                torch.where(self.count > 0, self.mean, torch.nan),
                variance,
                self.m3 / count / spread**1.5,
                self.m4 / count / spread**2,
            ],
            dim=1,
        )


class PowerSums:
    """How many values are above 0, and the sums of the powers 1 to 4 of the values' deviations from a centre.

    Within a block, values are summed in their own dtype, scaled to at most 1 if they are very large or small; the
    blocks are summed in float64. So float32 loses no precision that matters.
    """

    def __init__(
        self,
        centre: Float64[Tensor, " components"],
        lowest: Float[Tensor, " components"],
        highest: Float[Tensor, " components"],
        dtype: torch.dtype,
        n_values: int,
    ) -> None:
        """Begin to sum.

        Args:
            centre: a number near the mean, such as the mean of earlier values.
            lowest, highest: bounds of the values, which keep the powers within the dtype's range.
            dtype: float32 or float64, the dtype in which blocks are summed.
            n_values: how many values of each component will be added.
        """
        self._n_values = n_values
        self._shift = centre.to(dtype)
        bounds = lowest.to(dtype), highest.to(dtype)
        reach = torch.maximum(bounds[1] - self._shift, self._shift - bounds[0]).clamp_min(torch.finfo(dtype).tiny)
        exponent = torch.frexp(reach).exponent
        self._is_scaled = bool((exponent.abs() > _LARGEST_UNSCALED_EXPONENT).any())
        if not self._is_scaled:
            exponent = torch.zeros_like(exponent)
        self._scale = torch.exp2(exponent.clamp(-120, 120).to(dtype))
        self._inverse = 1 / self._scale  # exact: a power of two
        self._sums = torch.zeros(5, len(centre), dtype=torch.float64, device=centre.device)

    def of(self, components: slice) -> "PowerSums":
        """Some components' sums. What is added there is added here."""
        part = copy.copy(self)
        for name in ("_shift", "_scale", "_inverse"):
            setattr(part, name, getattr(self, name)[components])
        part._sums = self._sums[:, components]
        return part

    def add(
        self,
        values: Float[Tensor, "blocks entries components"],
        not_counted: Int64[Tensor, " places"] | None,
        scratch: Scratch,
    ) -> None:
        """Add values.

        Args:
            values: in the dtype given at the start.
            not_counted: the places of those that do not count among all blocks' entries; they lie within the bounds.
            scratch: memory for intermediate results.
        """
        terms = scratch.take("terms", (5, *values.shape), values.dtype)  # in one piece, to be summed at once
        deviation, square = terms[0], terms[1]
        torch.sub(values, self._shift, out=deviation)
        if self._is_scaled:
            deviation.mul_(self._inverse)
        torch.mul(deviation, deviation, out=square)
        torch.mul(terms[:2], square, out=terms[2:4])
        torch.gt(values, 0, out=terms[4])
        if not_counted is not None:
            terms.flatten(1, 2).index_fill_(1, not_counted, 0.0)
        self._sums += terms.sum(2).sum(1, dtype=torch.float64)

    def n_above(self) -> Int64[Tensor, " components"]:
        """How many of the values are above 0."""
        return self._sums[4].to(torch.int64)

    def moments(self) -> Moments:
        """The moments of all added values."""
        unit = self._scale.double()
        s1, s2, s3, s4 = (total * unit**exponent for exponent, total in enumerate(self._sums[:4], start=1))
        count = torch.full_like(s1, self._n_values)
        offset = s1 / count
        return Moments(
            count=count,
            mean=self._shift.double() + offset,
            m2=(s2 - count * offset**2).clamp_min(0),
            m3=s3 - 3 * offset * s2 + 2 * count * offset**3,
            m4=(s4 - 4 * offset * s3 + 6 * offset**2 * s2 - 3 * count * offset**4).clamp_min(0),
        )
