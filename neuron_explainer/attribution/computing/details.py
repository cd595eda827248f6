"""What an objective says of one pass beside its number."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class PassDetails:
    """What an objective says of one pass.

    Attributes:
        positions: the rows: the positions at which the number depends on the residual stream.
        linear_value: what the parts sum to: the number, or its linearisation if it is not linear.
        capped_value: the number of what the model itself computes; the number unless a soft cap changes it.
        logits: the uncapped logits at the rows; None if the number is not of logits.
        final_scales: the final norm's scale at each token; None if the number is not of logits.
    """

    positions: tuple[int, ...]
    linear_value: float
    capped_value: float
    logits: Float[Tensor, "positions vocab"] | None = None
    final_scales: Float[Tensor, "tokens 1"] | None = None
