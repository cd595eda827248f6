"""Transcoders: latents of one place that write what another place holds, as SAELens saves them."""

import os
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, InvalidRequestError
from neuron_explainer.models.autoencoders.latent_activations import JumpReLU, LatentActivation, ReLU
from neuron_explainer.models.autoencoders.places import AutoencoderOrigin
from neuron_explainer.models.autoencoders.saelens import read_saelens_weights, take
from neuron_explainer.models.autoencoders.saelens_config import SaelensConfig, read_saelens_config

_ARCHITECTURES = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")


@dataclass(frozen=True, eq=False, repr=False)
class Transcoder:
    """lat = act(W_enc x + latent_bias), output = W_dec lat + output_bias (+ W_skip x).

    Attributes:
        encoder_weight: one row a latent.
        latent_bias: added to the pre-activations.
        activation: the activation function.
        decoder_weight: one column a latent.
        output_bias: added to the output.
        skip_weight: a linear map from the inputs straight to the output, where there is one.
    """

    encoder_weight: Float[Tensor, "latents inputs"]
    latent_bias: Float[Tensor, " latents"]
    activation: LatentActivation
    decoder_weight: Float[Tensor, "outputs latents"]
    output_bias: Float[Tensor, " outputs"]
    skip_weight: Float[Tensor, "outputs inputs"] | None = None

    def encode(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch latents"]:
        """The latents of what the place that is read holds."""
        if inputs.shape[-1] != self.encoder_weight.shape[1]:
            raise InvalidRequestError(
                f"This transcoder reads {self.encoder_weight.shape[1]} numbers a token; the inputs have "
                f"{inputs.shape[-1]}."
            )
        inputs = inputs.to(self.encoder_weight.dtype)
        return self.activation(torch.nn.functional.linear(inputs, self.encoder_weight, self.latent_bias))

    def decode(
        self, latents: Float[Tensor, "*batch latents"], inputs: Float[Tensor, "*batch inputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """What the other place is predicted to hold.

        Raises:
            InvalidRequestError: there is a skip connection, and the inputs are not given.
        """
        output = torch.nn.functional.linear(
            latents.to(self.decoder_weight.dtype), self.decoder_weight, self.output_bias
        )
        if self.skip_weight is None:
            return output
        if inputs is None:
            raise InvalidRequestError(
                "This transcoder has a skip connection: decode(latents, inputs) needs the inputs."
            )
        return output + torch.nn.functional.linear(inputs.to(self.skip_weight.dtype), self.skip_weight)

    def __repr__(self) -> str:
        outputs, latents = self.decoder_weight.shape
        skip = ", with a skip connection" if self.skip_weight is not None else ""
        return f"Transcoder({self.encoder_weight.shape[1]} inputs, {latents} latents, {outputs} outputs{skip})"


def load_transcoder(folder: str | os.PathLike[str]) -> tuple[Transcoder, AutoencoderOrigin]:
    """The transcoder in a SAELens folder, and what its configuration says of it (the place is the one it reads).

    Raises:
        AutoencoderFormatError: it is none, is damaged, or its configuration contradicts its weights.
    """
    config = read_saelens_config(folder)
    if config.architecture not in _ARCHITECTURES or config.input_normalization != "none":
        raise AutoencoderFormatError(
            f"{config.folder}: {config.architecture} with normalize_activations {config.input_normalization!r} is no "
            f"transcoder that is supported; {list(_ARCHITECTURES)} without scaled inputs are."
        )
    weights = read_saelens_weights(config)
    outputs = config.settings.get("d_out")
    if not isinstance(outputs, int):
        raise AutoencoderFormatError(f"{config.folder}: d_out is {outputs!r}; a transcoder's configuration gives it.")
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
