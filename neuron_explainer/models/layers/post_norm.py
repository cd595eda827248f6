"""What some families put on a layer's write: a norm (gemma2), with its scale held constant, or a factor (granite)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.layers.norms import Norm
from neuron_explainer.models.layers.routed import Neurons


@dataclass(frozen=True)
class PostNorm:
    """What multiplies each channel of a layer's output before it is added to the residual stream: gain / scale.

    A constant factor of all that is added is part of the gain.

    With the scale held constant, the direct effect of a head or neuron is its output times this factor.
    """

    gain: Float[Tensor, " d_model"]
    inverse_scale: Float[Tensor, "batch tokens 1"]

    @property
    def factor(self) -> Float[Tensor, "batch tokens d_model"]:
        """Gain / scale."""
        return self.gain * self.inverse_scale

    def of_direction(self, direction: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens d_model"]:
        """The direction whose dot product with the layer's output equals that of `direction` with what is added."""
        return direction * self.factor

    @classmethod
    def at(
        cls, norm: Norm | None, multiplier: float, output: Callable[[Any], Tensor], activation: Neurons
    ) -> PostNorm | None:
        """The factor for one pass; None if it is 1 whatever the activations are.

        Args:
            norm: the norm of the layer's output, if there is one.
            multiplier: the factor of what is added.
            output: computes the layer's output from its activation.
            activation: heads' weighted values, or neurons' activations, (batch, tokens, …).
        """
        if norm is None:
            if multiplier == 1:
                return None
            written = output(activation)
            return cls(torch.full_like(written[0, 0], multiplier), torch.ones_like(written[..., :1]))
        # Norms are computed in float32 at least; the factor is applied in the model's dtype.
        inverse_scale = 1 / norm.scale(output(activation)).detach()
        gain = torch.ones_like(inverse_scale[0, 0]) * norm.effective_gain * multiplier
        return cls(gain.to(activation.dtype), inverse_scale.to(activation.dtype))
