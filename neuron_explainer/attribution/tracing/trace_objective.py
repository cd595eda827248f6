"""A traced activation as an objective: a function of the residual stream that its component reads.

With the scales of norms held constant, and the attention pattern too, it is affine in the residual stream, or has a
linearisation. What does not depend on the residual stream is "biases"; what a linearisation leaves over is
`nonlinearity`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.losses.objective import Evaluated, Objective
from neuron_explainer.attribution.computing.details import PassDetails
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.norms import at_least_float32

BIASES = "biases"


class TraceObjective(Objective):
    """One activation, of the same node in every prompt of a batch.

    Args:
        residual: the residual stream that the node's component reads.
        position: that place's position in the order of the residual stream.
    """

    is_affine = True
    """Whether it is affine in the residual stream when scales and the pattern are held constant."""

    def __init__(self, residual: PlaceAndLayer, position: int) -> None:
        self.residual = residual
        self.position = position
        self._has_begun = False

    @abstractmethod
    def activation(self, resid: Float[Tensor, "batch tokens d_model"], hold_scales: bool) -> Float[Tensor, " batch"]:
        """The activation of each prompt; with `hold_scales` no gradient flows through scales and patterns."""

    def begin(self, resid: Float[Tensor, "batch tokens d_model"]) -> None:
        """Note what stays constant, in the pass that the trace is about; called once, before `activation`.

        It stays so in later passes, of other ablations: they change what the trace goes through, and nothing else.
        """

    def check(self, resid: Float[Tensor, "batch tokens d_model"]) -> None:
        """Refuse a pass in which the activation does not exist."""

    def capped(self, value: float) -> float:
        """What the model makes of the activation by a soft cap."""
        return value

    def evaluate(
        self,
        residual_at: Callable[[PlaceAndLayer], Float[Tensor, "batch tokens d_model"]],
        lengths: Int[Tensor, " batch"],
        with_directions: bool,
    ) -> Evaluated:
        """The activation of each prompt."""
        resid = residual_at(self.residual)
        if not with_directions:
            with torch.no_grad():
                return Evaluated(at_least_float32(self.activation(resid, hold_scales=False)))
        with torch.no_grad():
            self.check(resid)
            if not self._has_begun:
                self.begin(resid)
                self._has_begun = True
        values, gradient = self._differentiated(resid, hold_scales=False)
        _, held = self._differentiated(resid, hold_scales=True)
        held = at_least_float32(held)
        linear = (held * at_least_float32(resid)).sum((1, 2))
        values = at_least_float32(values)
        rows = held.any(dim=-1).any(dim=0).nonzero().flatten()
        if not len(rows):
            rows = torch.zeros(1, dtype=torch.int64, device=resid.device)
        details = [
            PassDetails(
                positions=tuple(rows.tolist()),
                linear_value=float(value if self.is_affine else own),
                capped_value=self.capped(float(value)),
            )
            for value, own in zip(values, linear, strict=True)
        ]
        constants = {BIASES: values - linear} if self.is_affine else {}
        return Evaluated(values, gradient, rows.expand(len(resid), -1), held[:, rows], constants, details)

    def _differentiated(self, resid: Tensor, hold_scales: bool) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = resid.detach().requires_grad_()
            values = self.activation(leaf, hold_scales)
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), gradient
