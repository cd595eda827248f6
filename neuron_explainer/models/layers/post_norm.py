"""The norm that some families (gemma2) put on a layer's write, with its scale held constant: then it is linear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.layers.norms import Norm


@dataclass(frozen=True)
class PostNorm:
    """What multiplies each channel of a layer's output before it is added to the residual stream: gain / scale.

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
    def at(cls, norm: Norm, output: Callable[[Tensor], Tensor], activation: Tensor) -> PostNorm:
        """The factor for one pass.

        Args:
            norm: the norm of the layer's output.
            output: computes the layer's output from its activation.
            activation: heads' weighted values, or neurons' activations, (batch, tokens, …).
        """
        # Norms are computed in float32 at least; the factor is applied in the model's dtype.
        inverse_scale = 1 / norm.scale(output(activation)).detach()
        return cls(norm.effective_gain.to(activation.dtype), inverse_scale.to(activation.dtype))
