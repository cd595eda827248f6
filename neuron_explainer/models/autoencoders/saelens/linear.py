"""Architectures of SAELens whose encoder is one linear map, each built from its tensors.

A builder takes the config, the tensors by name, and the list of applied settings, to which it may add.
"""

import torch
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.latent_activations import JumpReLU, LatentActivation, ReLU, TopK
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig
from neuron_explainer.models.autoencoders.saelens.folding import input_scaling
from neuron_explainer.models.autoencoders.saelens.weights import Weights, take


def _linear_autoencoder(
    config: SaelensConfig,
    weights: Weights,
    applied: list[str],
    activation: LatentActivation,
    latent_bias: str = "b_enc",
    encoder_scale: Tensor | None = None,
) -> Autoencoder:
    """An autoencoder whose encoder is one linear map.

    Args:
        config: the folder's config.
        weights: `W_enc` (inputs, latents), `W_dec` (latents, inputs), `b_dec` (inputs) and the latents' bias.
        applied: the settings applied so far.
        activation: the activation function.
        latent_bias: the name of the latents' bias.
        encoder_scale: multiplies each latent's encoder weights, shape (latents,).
    """
    inputs, latents = config.n_inputs, config.n_latents
    output_bias = take(weights, config, "b_dec", inputs)
    encoder = take(weights, config, "W_enc", inputs, latents)
    subtracted = config.subtracts_output_bias
    return Autoencoder(
        encoder_weight=(encoder if encoder_scale is None else encoder * encoder_scale).T.contiguous(),
        decoder_weight=take(weights, config, "W_dec", latents, inputs).T,
        pre_bias=output_bias if subtracted else torch.zeros_like(output_bias),
        latent_bias=take(weights, config, latent_bias, latents),
        activation=activation,
        output_bias=None if subtracted else output_bias,
        input_scaling=input_scaling(config, applied),
        applied=tuple(applied),
    )


def standard(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """A linear map and ReLU."""
    if config.settings.get("activation_fn", "relu") != "relu":
        raise AutoencoderFormatError(
            f"{config.source}: the activation function {shown(config.settings['activation_fn'], 100)} is not "
            "supported; relu and topk are."
        )
    return _linear_autoencoder(config, weights, applied, ReLU())


def largest_k(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """The k largest latents of each token, by value or (abstopk) by magnitude."""
    by_magnitude = config.architecture == "abstopk"
    activation = TopK(config.count("k", 100), relu=not by_magnitude, by_magnitude=by_magnitude)
    return _linear_autoencoder(config, weights, applied, activation)


def jump_relu(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """ReLU with a threshold for each latent."""
    if "log_threshold" in weights and "threshold" not in weights:
        weights["threshold"] = weights.pop("log_threshold").exp()
    threshold = take(weights, config, "threshold", config.n_latents)
    return _linear_autoencoder(config, weights, applied, JumpReLU(not_negative(threshold, "threshold", config)))


def not_negative(threshold: Tensor, name: str, config: SaelensConfig) -> Tensor:
    """The thresholds, if all are 0 or more.

    Raises:
        AutoencoderFormatError: one is negative or NaN.
    """
    if not bool((threshold >= 0).all()):  # false for NaN too
        raise AutoencoderFormatError(
            f"{config.source}: {name} holds {float(threshold.min()):g}; thresholds must be 0 or more."
        )
    return threshold


def batch_top_k(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """The top k of a batch, by the threshold that training estimated."""
    threshold = not_negative(take(weights, config, "topk_threshold"), "topk_threshold", config)
    applied.append("the top k of a batch is replaced by the threshold that training estimated for it")
    bias = take(weights, config, "b_enc", config.n_latents)
    return _linear_autoencoder(config, weights, applied, JumpReLU(torch.ones_like(bias) * threshold.to(bias.dtype)))


def gated(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """A gate and a magnitude, from one linear map."""
    scale = take(weights, config, "r_mag", config.n_latents).exp()
    threshold = take(weights, config, "b_mag", config.n_latents) - scale * take(
        weights, config, "b_gate", config.n_latents
    )
    applied.append("the gate is written as an equivalent threshold on the magnitude")
    return _linear_autoencoder(config, weights, applied, JumpReLU(threshold), "b_mag", scale)
