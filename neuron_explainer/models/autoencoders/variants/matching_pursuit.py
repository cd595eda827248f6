"""Autoencoders whose latents are found one at a time, each from what those before it left."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, InvalidRequestError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder


@dataclass(frozen=True, eq=False, repr=False)
class MatchingPursuitAutoencoder(Autoencoder):
    """Latents found one at a time: each step takes the latent whose direction explains most of the remaining input.

    The directions are the decoder's columns; `encoder_weight` is their transpose.

    Attributes:
        residual_threshold: a token is done when the norm of its remaining input is smaller; 0 switches this off.
        max_iterations: the largest number of steps; None means the number of inputs.
        stop_on_duplicate_support: a token is done when a step finds no new latent.
    """

    residual_threshold: float = 1e-2
    max_iterations: int | None = None
    stop_on_duplicate_support: bool = True

    def pre_activations(
        self, inputs: Float[Tensor, "*batch inputs"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch kept_latents"]:
        """Not supported: latents found by matching pursuit have no pre-activations.

        Raises:
            InvalidRequestError: always.
        """
        raise InvalidRequestError(
            "Latents found by matching pursuit have no pre-activations: each depends on those found before it."
        )

    def encode(
        self, inputs: Float[Tensor, "*batch inputs"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch kept_latents"]:
        """The latents, or a slice of them; all are computed in any case."""
        remaining = self._scaled(self._checked(inputs)) - self.pre_bias
        found = torch.zeros(*remaining.shape[:-1], self.n_latents, dtype=self.dtype, device=self.device)
        done = torch.zeros(remaining.shape[:-1], dtype=torch.bool, device=self.device)
        before = torch.zeros_like(found, dtype=torch.bool)
        for _ in range(self.n_inputs if self.max_iterations is None else self.max_iterations):
            with torch.no_grad():
                best = (remaining @ self.decoder_weight).relu().max(dim=-1).indices
            direction = self.write_rows[best]
            amount = ((remaining * direction).sum(dim=-1).relu() * ~done).unsqueeze(-1)
            found = found.scatter_add(-1, best.unsqueeze(-1), amount)
            remaining = remaining - amount * direction
            if self.stop_on_duplicate_support:
                done = done | ((found != 0) == before).all(dim=-1)
                before = found != 0
            if self.residual_threshold > 0:
                done = done | (remaining.detach().norm(dim=-1) < self.residual_threshold)
            if bool(done.all()):
                break
        return found[..., latents]

    def without_dead_latents(self, dead_after: int) -> "Autoencoder":
        """Not supported: every latent depends on all others.

        Raises:
            AutoencoderFormatError: always.
        """
        raise AutoencoderFormatError(
            "Latents of a matching pursuit autoencoder cannot be left out (omit_dead_latents=False keeps them)."
        )
