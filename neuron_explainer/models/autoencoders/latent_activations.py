"""The activation functions of autoencoders: from pre-activations to latents.

Each is a frozen dataclass, called with pre-activations of shape (…, latents). If `is_elementwise`, a latent depends
only on its own pre-activation, so a slice of latents can be computed without the others. `keep` gives the function for
a part of the latents.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, shown

ActivationT = TypeVar("ActivationT")


@runtime_checkable
class LatentActivation(Protocol):
    """An activation function of an autoencoder."""

    is_elementwise: ClassVar[bool]

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """The latents. `latents` is the slice to which the pre-activations belong."""
        ...

    def keep(self: ActivationT, mask: Bool[Tensor, " all_latents"]) -> ActivationT:
        """The same function for the latents that `mask` keeps."""
        ...

    def moved(self: ActivationT, move: Callable[[Tensor], Tensor]) -> ActivationT:
        """The same function with its tensors moved or cast by `move`."""
        ...


@dataclass(frozen=True)
class _WithoutTensors:
    def keep(self: ActivationT, mask: Bool[Tensor, " all_latents"]) -> ActivationT:
        return self

    def moved(self: ActivationT, move: Callable[[Tensor], Tensor]) -> ActivationT:
        return self


@dataclass(frozen=True)
class ReLU(_WithoutTensors):
    """ReLU: max(p, 0)."""

    is_elementwise: ClassVar[bool] = True

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """max(p, 0)."""
        return pre_activations.relu()


@dataclass(frozen=True)
class Identity(_WithoutTensors):
    """No activation function: p."""

    is_elementwise: ClassVar[bool] = True

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """The pre-activations, unchanged."""
        return pre_activations


@dataclass(frozen=True)
class TopK(_WithoutTensors):
    """The k largest pre-activations of each token, the others 0.

    Attributes:
        k: how many are kept; with fewer latents, all of them.
        relu: whether negative ones among the k become 0 too.
        by_magnitude: choose by magnitude, and keep the sign ("AbsTopK").

    Raises:
        AutoencoderFormatError: k is not a whole number above 0.
    """

    k: int
    relu: bool = True
    by_magnitude: bool = False
    is_elementwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise AutoencoderFormatError(
                f"k of a TopK autoencoder is {shown(self.k)}; it must be a whole number above 0."
            )

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """The k largest pre-activations of each token, and 0 for the others."""
        ranked = pre_activations.abs() if self.by_magnitude else pre_activations
        chosen = ranked.topk(min(self.k, ranked.shape[-1]), dim=-1, sorted=False).indices
        values = pre_activations.gather(-1, chosen)
        return torch.zeros_like(pre_activations).scatter(-1, chosen, values.relu() if self.relu else values)


@dataclass(frozen=True, eq=False)
class JumpReLU:
    """max(p, 0) where p > threshold, else 0; each latent has its own threshold (Rajamanoharan et al. 2024).

    A gated autoencoder can be written like this: its gate W x + b_gate > 0 is the same as its magnitude
    exp(r) W x + b_mag > b_mag - exp(r) b_gate.
    """

    threshold: Float[Tensor, " all_latents"]
    is_elementwise: ClassVar[bool] = True

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """max(p, 0) above the thresholds."""
        return pre_activations.relu() * (pre_activations > self.threshold[latents])

    def keep(self, mask: Bool[Tensor, " all_latents"]) -> "JumpReLU":
        """The thresholds of the latents that `mask` keeps."""
        return replace(self, threshold=self.threshold[mask])

    def moved(self, move: Callable[[Tensor], Tensor]) -> "JumpReLU":
        """The thresholds moved or cast by `move`."""
        return replace(self, threshold=move(self.threshold))
