"""Mean, variance, skewness and kurtosis of every component, in one pass and in any order.

Central power sums are merged by Pébay's formulas (Formulas for robust, one-pass parallel computation of covariances and
arbitrary-order statistical moments, Sandia report SAND2008-6212, 2008): the merge is associative up to rounding in
float64, and is the same for batches, workers and resumed runs.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass
class Moments:
    """How many values each component had, their mean, and the sums of powers 2, 3, 4 of the deviations from it."""

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
        """The moments of both together."""
        count = self.count + other.count
        safe = count.clamp_min(1)
        delta = other.mean - self.mean
        part, rest = other.count / safe, self.count / safe  # each one's share of the whole
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

        NaN where there is none: everything of no values, skewness and kurtosis of values that are all equal.
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
    """Sums of the powers 1 to 4 of values about a centre, from which their moments follow.

    Each block is summed in the values' own dtype, scaled to at most 1, so that float32 loses nothing that matters;
    blocks are summed in float64.
    """

    def __init__(
        self,
        centre: Float64[Tensor, " components"],
        lowest: Float[Tensor, " components"],
        highest: Float[Tensor, " components"],
        dtype: torch.dtype,
    ) -> None:
        """Begin to sum.

        Args:
            centre: a number near the mean, or the mean of earlier values.
            lowest, highest: bounds of the values to come, which keep the powers within a float's range.
            dtype: float32 or float64, in which blocks are summed.
        """
        self._shift = centre.to(dtype)
        bounds = lowest.to(dtype), highest.to(dtype)
        reach = torch.maximum(bounds[1] - self._shift, self._shift - bounds[0]).clamp_min(torch.finfo(dtype).tiny)
        self._scale = torch.exp2(torch.frexp(reach).exponent.clamp(-120, 120).to(dtype))
        self._inverse = 1 / self._scale  # exact: a power of two
        self._count = 0.0
        self._sums = torch.zeros(4, len(centre), dtype=torch.float64, device=centre.device)

    def add(
        self,
        values: Float[Tensor, "blocks entries components"],
        weights: Float[Tensor, "blocks 1 entries"],
        n_counted: int,
        scratch: Float[Tensor, "2 blocks entries components"],
    ) -> None:
        """Add the values whose weight is 1; those of weight 0 count for nothing but must be within the bounds.

        Args:
            values: in the dtype of the sums.
            weights: 1 or 0 for each entry.
            n_counted: how many entries have weight 1.
            scratch: memory to work in.
        """
        deviation, power = scratch
        torch.sub(values, self._shift, out=deviation).mul_(self._inverse)
        self._count += n_counted
        self._sums[0] += torch.bmm(weights, deviation).sum((0, 1), dtype=torch.float64)
        torch.mul(deviation, deviation, out=power)
        self._sums[1] += torch.bmm(weights, power).sum((0, 1), dtype=torch.float64)
        deviation.mul_(power)
        self._sums[2] += torch.bmm(weights, deviation).sum((0, 1), dtype=torch.float64)
        power.mul_(power)
        self._sums[3] += torch.bmm(weights, power).sum((0, 1), dtype=torch.float64)

    def moments(self) -> Moments:
        """The moments of everything that was added."""
        unit = self._scale.double()
        s1, s2, s3, s4 = (total * unit**exponent for exponent, total in enumerate(self._sums, start=1))
        count = torch.full_like(s1, self._count)
        offset = s1 / count
        return Moments(
            count=count,
            mean=self._shift.double() + offset,
            m2=(s2 - count * offset**2).clamp_min(0),
            m3=s3 - 3 * offset * s2 + 2 * count * offset**3,
            m4=(s4 - 4 * offset * s3 + 6 * offset**2 * s2 - 3 * count * offset**4).clamp_min(0),
        )
