"""Scaling of each token's input: some autoencoders apply it before encoding and undo it after decoding."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

_LAYER_NORM_EPSILON = 1e-5  # added to the standard deviation, not to the variance, by OpenAI and by SAELens


class InputScaling(StrEnum):
    """How each token's input is shifted and scaled."""

    NONE = "none"
    LAYER_NORM = "layer_norm"
    """(x - mean) / (std + 1e-5), with the standard deviation over n - 1; undone without the 1e-5."""
    UNIT_MEAN_SQUARE = "constant_norm_rescale"
    """Scaled to the norm sqrt(inputs)."""
    CENTER = "center"
    """x - mean: for autoencoders trained on a model whose writing weights had been centred."""

    def of(self, inputs: Float[Tensor, "*batch inputs"]) -> "TokenScaling":
        """The shift, divisor and multiplier of each token."""
        match self:
            case InputScaling.LAYER_NORM:
                standard_deviation = inputs.std(dim=-1, keepdim=True)
                return TokenScaling(
                    inputs.mean(dim=-1, keepdim=True), standard_deviation + _LAYER_NORM_EPSILON, standard_deviation
                )
            case InputScaling.UNIT_MEAN_SQUARE:
                norm = inputs.norm(dim=-1, keepdim=True) / inputs.shape[-1] ** 0.5
                return TokenScaling(torch.zeros_like(norm), norm, norm)
            case InputScaling.CENTER:
                mean = inputs.mean(dim=-1, keepdim=True)
                return TokenScaling(mean, torch.ones_like(mean), torch.ones_like(mean))
            case InputScaling.NONE:
                one = inputs.new_ones((*inputs.shape[:-1], 1))
                return TokenScaling(torch.zeros_like(one), one, one)


@dataclass(frozen=True)
class TokenScaling:
    """One token's scaling: (x - shift) / divisor is encoded; decoded * multiplier + shift is the reconstruction."""

    shift: Float[Tensor, "*batch 1"]
    divisor: Float[Tensor, "*batch 1"]
    multiplier: Float[Tensor, "*batch 1"]
