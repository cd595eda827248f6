"""A number that is computed from the residual stream, and what each write to that stream adds to it.

A loss of derive takes the logits of the pass. An objective takes the residual stream at one place: after the last
layer, or just before a traced activation. With every norm's scale held constant it is an affine function of the
residual stream there (or has one as its linearisation). So what is written to the stream adds up to it: each write,
projected on the direction, and the constants.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.models.hooks.recording import PlaceAndLayer


@dataclass(frozen=True)
class Evaluated:
    """An objective in a batch of prompts, detached.

    Attributes:
        values: each prompt's number.
        gradient: its gradient with respect to the residual stream at the objective's place; None if it was not needed.
        rows: the positions at which the direction is not zero; shorter lists are padded with position 0.
        directions: at these positions, the gradient with the scales of norms held constant, in float32 or wider; zero
            where `rows` is padded.
        constants: what does not depend on the residual stream, by name.
        details: for each prompt, whatever else the objective gives.
    """

    values: Float[Tensor, " batch"]
    gradient: Float[Tensor, "batch tokens d_model"] | None = None
    rows: Int[Tensor, "batch rows"] | None = None
    directions: Float[Tensor, "batch rows d_model"] | None = None
    constants: dict[str, Float[Tensor, " batch"]] = field(default_factory=dict)
    details: Sequence[Any] = ()


class Objective(ABC):
    """A number for each prompt, computed from the residual stream."""

    residual: PlaceAndLayer
    """The place of the residual stream at which it is differentiated."""
    position: int
    """That place's position in the order of the residual stream; see `residual_order`."""

    @property
    def reads(self) -> set[PlaceAndLayer]:
        """The places of the residual stream that it is computed from."""
        return {self.residual}

    @abstractmethod
    def evaluate(
        self,
        residual_at: Callable[[PlaceAndLayer], Float[Tensor, "batch tokens d_model"]],
        lengths: Int[Tensor, " batch"],
        with_directions: bool,
    ) -> Evaluated:
        """The numbers; `with_directions`, everything else too.

        Args:
            residual_at: the recorded residual stream at the places that the objective reads.
            lengths: how many real tokens each prompt has.
            with_directions: whether `gradient`, `rows`, `directions`, `constants` and `details` are wanted.
        """
