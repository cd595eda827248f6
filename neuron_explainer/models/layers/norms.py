"""Norms of the residual stream: LayerNorm and RMSNorm, with the scale as a separate tensor."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuron_explainer.models.hooks.neutral import through_tap
from neuron_explainer.models.hooks.taps import Taps, at_place
from neuron_explainer.models.layers.unfilled import unfilled
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType


class Norm(nn.Module, ABC):
    """(x - centre) / scale * gain + bias, over the last axis.

    The scale is float32 or wider, so that recording it does not change the results of models of lower precision.
    """

    def __init__(
        self,
        size: int,
        epsilon: float,
        gain_offset: float = 0.0,
        *,
        has_bias: bool = False,
        has_gain: bool = True,
    ) -> None:
        super().__init__()
        self.size = size
        self.epsilon = epsilon
        self.gain_offset = gain_offset
        self.gain = unfilled(size) if has_gain else None
        self.bias = unfilled(size) if has_bias else None

    @abstractmethod
    def scale(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes 1"]:
        """The divisor of the input, epsilon included."""

    @abstractmethod
    def without_gain(
        self, resid: Float[Tensor, "*axes channels"], scale: Float[Tensor, "*axes 1"]
    ) -> Float[Tensor, "*axes channels"]:
        """(x - centre) / scale, before the gain and bias, in float32 or wider."""

    def apply_scale(
        self, resid: Float[Tensor, "*axes channels"], scale: Float[Tensor, "*axes 1"]
    ) -> Float[Tensor, "*axes channels"]:
        """The norm with a given scale, gain and bias included: affine in `resid`."""
        normed = self.without_gain(resid, scale) * self.effective_gain
        return (normed if self.bias is None else normed + self.bias).to(resid.dtype)

    @abstractmethod
    def fused(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes channels"]:
        """The norm by PyTorch's fastest function."""

    @property
    def effective_gain(self) -> Float[Tensor, "*heads channels"] | float:
        """The factor of the normalised input: the stored gain plus the family's offset; 1 without a gain."""
        if self.gain is None:
            return 1.0
        return at_least_float32(self.gain) + self.gain_offset if self.gain_offset else self.gain

    def forward(
        self, resid: Float[Tensor, "*axes channels"], detach_scale: bool = False
    ) -> Float[Tensor, "*axes channels"]:
        """The normalised input; with `detach_scale` no gradient flows through the scale."""
        return self.apply_scale(resid, self.scale(resid).detach()) if detach_scale else self.fused(resid)

    def tapped(
        self,
        resid: Float[Tensor, "*axes channels"],
        taps: Taps,
        scale_place: ActivationLocationType,
        normed_place: ActivationLocationType,
    ) -> Float[Tensor, "*axes channels"]:
        """The normalised input; the scale and the result are tapped."""
        scale_tap = taps.get(scale_place)
        if scale_tap is None:
            normed = self.fused(resid)
        else:
            normed = through_tap(
                scale_tap,
                self.scale(resid),
                through=lambda scale: self.apply_scale(resid, scale),
                plain=lambda: self.fused(resid),
            )
        tap = taps.get(normed_place)
        if tap is not None and not tap.only_observes and normed.data_ptr() == resid.data_ptr():
            normed = normed.clone()  # without a norm: what is written here, and its gradient, are not the stream's
        return at_place(taps, normed_place, normed)


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor, in float32 if its dtype has 16 bits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class LayerNorm(Norm):
    """Centred on the mean, scaled by the standard deviation sqrt(var + epsilon)."""

    def scale(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes 1"]:
        """sqrt(var + epsilon), with the biased variance."""
        return (at_least_float32(resid).var(-1, correction=0, keepdim=True) + self.epsilon).sqrt()

    def without_gain(
        self, resid: Float[Tensor, "*axes channels"], scale: Float[Tensor, "*axes 1"]
    ) -> Float[Tensor, "*axes channels"]:
        """(x - mean) / scale."""
        precise = at_least_float32(resid)
        return (precise - precise.mean(-1, keepdim=True)) / scale

    def fused(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes channels"]:
        """PyTorch's own LayerNorm."""
        effective = self.effective_gain
        gain = effective.to(resid.dtype) if isinstance(effective, Tensor) else None
        return nn.functional.layer_norm(resid, (self.size,), gain, self.bias, self.epsilon)


class RMSNorm(Norm):
    """Not centred, scaled by the root mean square sqrt(mean(x²) + epsilon)."""

    def scale(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes 1"]:
        """sqrt(mean(x²) + epsilon)."""
        return (at_least_float32(resid).square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def without_gain(
        self, resid: Float[Tensor, "*axes channels"], scale: Float[Tensor, "*axes 1"]
    ) -> Float[Tensor, "*axes channels"]:
        """x / scale."""
        return at_least_float32(resid) / scale

    def fused(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes channels"]:
        """PyTorch's own RMSNorm if it exists and the gain has no offset (a gain with an offset would be rounded)."""
        if self.gain_offset or not hasattr(nn.functional, "rms_norm"):
            return self.apply_scale(resid, self.scale(resid))
        return nn.functional.rms_norm(resid, (self.size,), self.gain, self.epsilon)


class NoNorm(Norm):
    """Where other families have a norm, and this one reads the residual stream itself: the scale is 1."""

    def __init__(self, size: int) -> None:
        super().__init__(size, epsilon=0.0, has_gain=False)

    def scale(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes 1"]:
        """1."""
        return torch.ones_like(at_least_float32(resid)[..., :1])

    def without_gain(
        self, resid: Float[Tensor, "*axes channels"], scale: Float[Tensor, "*axes 1"]
    ) -> Float[Tensor, "*axes channels"]:
        """x / scale, which is x unless the scale has been overwritten."""
        return at_least_float32(resid) / scale

    def fused(self, resid: Float[Tensor, "*axes channels"]) -> Float[Tensor, "*axes channels"]:
        """x."""
        return resid


class LayerNormByHead(LayerNorm):
    """A LayerNorm over each head's channels, with a gain of its own for each head and without a bias."""

    def __init__(self, n_heads: int, size: int, epsilon: float) -> None:
        super().__init__(size, epsilon, has_gain=False)
        self.gain = unfilled(n_heads, size)

    def fused(self, resid: Float[Tensor, "*axes heads channels"]) -> Float[Tensor, "*axes heads channels"]:
        """PyTorch's own LayerNorm, times the gains."""
        precise = nn.functional.layer_norm(at_least_float32(resid), (self.size,), eps=self.epsilon)
        return (precise * self.effective_gain).to(resid.dtype)


def build_norm(config: TransformerConfig, size: int) -> Norm:
    """A norm of the config's kind over `size` channels."""
    if config.norm_kind == "layer_norm":
        return LayerNorm(size, config.norm_epsilon, config.norm_gain_offset, has_bias=bool(config.norm_has_bias))
    return RMSNorm(size, config.norm_epsilon, config.norm_gain_offset)


def build_input_norm(config: TransformerConfig) -> Norm:
    """The norm through which attention or the MLP reads the residual stream."""
    return build_norm(config, config.d_model) if config.input_norms else NoNorm(config.d_model)


def build_query_key_norm(config: TransformerConfig, n_heads: int) -> Norm | None:
    """The norm of queries or keys, of which there are `n_heads`; None if they have none."""
    match config.query_key_norm:
        case None:
            return None
        case "layer_norm_by_head":
            return LayerNormByHead(n_heads, config.d_head, config.norm_epsilon)
        case "rms_of_projection":
            return RMSNorm(n_heads * config.d_head, config.norm_epsilon, config.norm_gain_offset)
        case "rms_by_head":
            return RMSNorm(config.d_head, config.norm_epsilon, config.norm_gain_offset)
