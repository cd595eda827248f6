"""Transcoders: latents that read one place and predict another, as SAELens saves them."""

import os
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, InvalidRequestError
from neuron_explainer.models.autoencoders.latent_activations import JumpReLU, LatentActivation, ReLU
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig, read_saelens_config
from neuron_explainer.models.autoencoders.saelens.weights import read_saelens_weights, take

TRANSCODER_ARCHITECTURES = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")


@dataclass(frozen=True, eq=False, repr=False)
class Transcoder:
    """lat = act(W_enc x + latent_bias), output = W_dec lat + output_bias (+ W_skip x).

    Attributes:
        encoder_weight: one row per latent.
        latent_bias: added to the pre-activations.
        activation: the activation function.
        decoder_weight: one column per latent.
        output_bias: added to the output.
        skip_weight: a linear map from the inputs straight to the output; None for most transcoders.
    """

    encoder_weight: Float[Tensor, "latents inputs"]
    latent_bias: Float[Tensor, " latents"]
    activation: LatentActivation
    decoder_weight: Float[Tensor, "outputs latents"]
    output_bias: Float[Tensor, " outputs"]
    skip_weight: Float[Tensor, "outputs inputs"] | None = None

    def encode(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch latents"]:
        """The latents of the activations at the place that is read."""
        if inputs.shape[-1] != self.encoder_weight.shape[1]:
            raise InvalidRequestError(
                f"This transcoder reads {self.encoder_weight.shape[1]} numbers per token; the inputs have "
                f"{inputs.shape[-1]}."
            )
        inputs = inputs.to(self.encoder_weight.dtype)
        return self.activation(torch.nn.functional.linear(inputs, self.encoder_weight, self.latent_bias))

    def decode(
        self, latents: Float[Tensor, "*batch latents"], inputs: Float[Tensor, "*batch inputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """The predicted activations at the other place.

        Raises:
            InvalidRequestError: the transcoder has a skip connection, and the inputs are not given.
        """
        output = torch.nn.functional.linear(
            latents.to(self.decoder_weight.dtype), self.decoder_weight, self.output_bias
        )
        if self.skip_weight is None:
            return output
        if inputs is None:
            raise InvalidRequestError(
                "This transcoder has a skip connection, so decode(latents, inputs) needs the inputs."
            )
        return output + torch.nn.functional.linear(inputs.to(self.skip_weight.dtype), self.skip_weight)

    def __repr__(self) -> str:
        outputs, latents = self.decoder_weight.shape
        skip = ", with a skip connection" if self.skip_weight is not None else ""
        return f"Transcoder({self.encoder_weight.shape[1]} inputs, {latents} latents, {outputs} outputs{skip})"


def load_transcoder(folder: str | os.PathLike[str]) -> tuple[Transcoder, AutoencoderOrigin]:
    """The transcoder in a SAELens folder, and what its config says about it (the place that it reads).

    Raises:
        AutoencoderFormatError: it is not a transcoder, is damaged, or its config contradicts its weights.
    """
    config = read_saelens_config(folder)
    if config.architecture not in TRANSCODER_ARCHITECTURES or config.input_normalization != "none":
        raise AutoencoderFormatError(
            f"{config.folder}: {config.architecture} with normalize_activations {config.input_normalization!r} is not "
            f"supported as a transcoder. Supported: {', '.join(TRANSCODER_ARCHITECTURES)}, with unscaled inputs."
        )
    weights = read_saelens_weights(config)
    outputs = config.settings.get("d_out")
    if not isinstance(outputs, int):
        raise AutoencoderFormatError(f"{config.folder}: d_out is {outputs!r}; it must be a whole number.")
    inputs, latents = config.n_inputs, config.n_latents
    transcoder = Transcoder(
        take(weights, config, "W_enc", inputs, latents).T,
        take(weights, config, "b_enc", latents),
        _activation(config, weights),
        take(weights, config, "W_dec", latents, outputs).T,
        take(weights, config, "b_dec", outputs),
        take(weights, config, "W_skip", outputs, inputs) if "skip" in config.architecture else None,
    )
    return transcoder, config.origin


def _activation(config: SaelensConfig, weights: dict[str, Tensor]) -> LatentActivation:
    if "jumprelu" not in config.architecture:
        return ReLU()
    return JumpReLU(take(weights, config, "threshold", config.n_latents))
