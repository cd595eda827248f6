"""The activation functions that autoencoders turn pre-activations into latents with.

Each is a frozen dataclass that is called with pre-activations (…, latents). `is_elementwise` tells whether a latent
depends on its own pre-activation alone, so that a slice of latents can be computed without the others; `omit` gives
the function for the latents that remain when some are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError

ActivationT = TypeVar("ActivationT")


@runtime_checkable
class LatentActivation(Protocol):
    """What an autoencoder needs of its activation function."""

    is_elementwise: ClassVar[bool]

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """The latents; `latents` says which slice of them the pre-activations are of."""
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
    """max(p, 0)."""

    is_elementwise: ClassVar[bool] = True

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """max(p, 0)."""
        return pre_activations.relu()


@dataclass(frozen=True)
class Identity(_WithoutTensors):
    """p itself."""

    is_elementwise: ClassVar[bool] = True

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """The pre-activations as they are."""
        return pre_activations


@dataclass(frozen=True)
class TopK(_WithoutTensors):
    """The k largest pre-activations of each token, the others 0.

    Attributes:
        k: how many; if there are fewer latents, all of them.
        relu: whether those among the k that are negative become 0 as well.
        by_magnitude: whether the largest are those of largest magnitude, kept with their sign ("AbsTopK").

    Raises:
        AutoencoderFormatError: k is not a positive integer.
    """

    k: int
    relu: bool = True
    by_magnitude: bool = False
    is_elementwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise AutoencoderFormatError(f"A TopK autoencoder keeps k ≥ 1 latents a token; k is {self.k!r}.")

    def __call__(
        self, pre_activations: Float[Tensor, "*batch latents"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch latents"]:
        """Keep the k largest of each token."""
        ranked = pre_activations.abs() if self.by_magnitude else pre_activations
        chosen = ranked.topk(min(self.k, ranked.shape[-1]), dim=-1, sorted=False).indices
        values = pre_activations.gather(-1, chosen)
        return torch.zeros_like(pre_activations).scatter(-1, chosen, values.relu() if self.relu else values)


@dataclass(frozen=True, eq=False)
class JumpReLU:
    """max(p, 0) where p > threshold, else 0; each latent has a threshold of its own.

    A gated autoencoder is one too: the gate W x + b_gate > 0 is the magnitude exp(r) W x + b_mag being above
    b_mag - exp(r) b_gate.
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
