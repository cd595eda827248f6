"""Autoencoders of whole sequences: attention over earlier tokens predicts a part of each token's input."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, InvalidRequestError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder

_TINY = 1e-6  # added to the length of the predicted part, to avoid dividing by 0


@dataclass(frozen=True, eq=False)
class PredictionAttention:
    """One attention layer over latents: it predicts a token's latents from those before it.

    Weights are (outputs, inputs).
    """

    n_heads: int
    query_weight: Float[Tensor, "narrow latents"]
    query_bias: Float[Tensor, " narrow"]
    key_weight: Float[Tensor, "narrow latents"]
    key_bias: Float[Tensor, " narrow"]
    value_weight: Float[Tensor, "latents latents"]
    value_bias: Float[Tensor, " latents"]
    output_weight: Float[Tensor, "latents latents"]
    output_bias: Float[Tensor, " latents"]

    def predict(
        self, context: Float[Tensor, "*batch tokens latents"], target: Float[Tensor, "*batch tokens latents"]
    ) -> Float[Tensor, "*batch tokens latents"]:
        """A prediction of each token of `target` from the tokens of `context` up to and including its position."""

        def heads(of: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            projected = torch.nn.functional.linear(of, weight, bias)
            return projected.unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)

        attended = torch.nn.functional.scaled_dot_product_attention(
            heads(target, self.query_weight, self.query_bias),
            heads(context, self.key_weight, self.key_bias),
            heads(context, self.value_weight, self.value_bias),
            is_causal=True,
        )
        joined = attended.transpose(-3, -2).flatten(-2)
        return torch.nn.functional.linear(joined, self.output_weight, self.output_bias)

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> "PredictionAttention":
        """A copy on another device, or with another floating-point dtype."""
        tensors: dict[str, Any] = {
            name: value.to(device=device, dtype=dtype)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


@dataclass(frozen=True, eq=False, repr=False)
class TemporalAutoencoder(Autoencoder):
    """Latents of the new part of each token; attention over earlier tokens predicts the rest (arXiv:2511.01836).

    Inputs are whole sequences, shape (…, tokens, inputs). `encode` gives the latents of the new part. The
    reconstruction is the decoded new part plus the predicted part, so `decode` needs the inputs.

    Attributes:
        attention_layers: the layers that predict, applied one after the other.
        input_factor: inputs are multiplied by it first, and reconstructions divided by it last.
    """

    attention_layers: tuple[PredictionAttention, ...] = ()
    input_factor: float = 1.0

    @property
    def _encoder_scale(self) -> float:
        return 1 / (4 * self.n_inputs)

    def pre_activations(
        self, inputs: Float[Tensor, "*batch tokens inputs"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch tokens kept_latents"]:
        """The pre-activations of the new part's latents, or of a slice of them."""
        new, _ = self._new_and_predicted(inputs)
        return new * self._encoder_scale @ self.encoder_weight[latents].T

    def decode(
        self,
        latents: Float[Tensor, "*batch tokens latents"],
        inputs: Float[Tensor, "*batch tokens inputs"] | None = None,
    ) -> Float[Tensor, "*batch tokens inputs"]:
        """The decoded latents plus the predicted part of `inputs`.

        Raises:
            InvalidRequestError: the inputs are not given.
        """
        if inputs is None:
            raise InvalidRequestError(
                "A temporal autoencoder's decode(latents, inputs) needs the inputs: it predicts a part of them."
            )
        _, predicted = self._new_and_predicted(inputs)
        bias = self.pre_bias if self.output_bias is None else self.output_bias
        decoded = (latents.to(self.dtype) + predicted) @ self.write_rows + bias
        scaling = self.input_scaling.of(self._checked(inputs))
        return (decoded * scaling.multiplier + scaling.shift) / self.input_factor

    def token_multiplier(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch 1"]:
        """The factor of each token's decoded latents that undoes the input scaling."""
        return super().token_multiplier(inputs) / self.input_factor

    @property
    def scales_inputs(self) -> bool:
        """True: decoding needs the inputs."""
        return True

    def _new_and_predicted(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The part of the inputs that earlier tokens do not predict, and the latents of the part that they do."""
        checked = self._checked(inputs)
        scaling = self.input_scaling.of(checked)
        remaining = (checked * self.input_factor - scaling.shift) / scaling.divisor - self.pre_bias
        predicted = remaining.new_zeros(*remaining.shape[:-1], self.n_latents)
        for layer in self.attention_layers:
            seen = (remaining * self._encoder_scale @ self.encoder_weight.T).relu()
            earlier = torch.cat([torch.zeros_like(seen[..., :1, :]), seen[..., :-1, :]], dim=-2)
            guess = layer.predict(earlier, seen).relu()
            direction = guess @ self.write_rows
            length = direction.norm(dim=-1, keepdim=True) + _TINY
            amount = (direction * remaining).sum(dim=-1, keepdim=True) / length**2
            predicted = predicted + guess * amount
            remaining = remaining - amount * direction
        return remaining, predicted

    def without_dead_latents(self, dead_after: int) -> "Autoencoder":
        """Not supported: the prediction depends on all latents.

        Raises:
            AutoencoderFormatError: always.
        """
        raise AutoencoderFormatError(
            "Latents of a temporal autoencoder cannot be left out (omit_dead_latents=False keeps them)."
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Autoencoder":
        """A copy on another device, or with weights of another floating-point dtype."""
        layers = tuple(layer.to(device, dtype) for layer in self.attention_layers)
        return replace(super().to(device, dtype), attention_layers=layers)  # type: ignore[call-arg]
