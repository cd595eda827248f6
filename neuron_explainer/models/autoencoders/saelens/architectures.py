"""The architectures that SAELens saves, each built from its tensors.

A builder takes the config, the tensors by name, and the list of applied settings, to which it may add.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.latent_activations import JumpReLU, LatentActivation, ReLU, TopK
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig
from neuron_explainer.models.autoencoders.saelens.folding import input_scaling, scaling_factor
from neuron_explainer.models.autoencoders.saelens.weights import Weights, take
from neuron_explainer.models.autoencoders.variants import (
    MatchingPursuitAutoencoder,
    PredictionAttention,
    TemporalAutoencoder,
)


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


def _standard(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    if config.settings.get("activation_fn", "relu") != "relu":
        raise AutoencoderFormatError(
            f"{config.folder}: the activation function {shown(config.settings['activation_fn'], 100)} is not "
            "supported; relu and topk are."
        )
    return _linear_autoencoder(config, weights, applied, ReLU())


def _top_k(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    by_magnitude = config.architecture == "abstopk"
    activation = TopK(config.count("k", 100), relu=not by_magnitude, by_magnitude=by_magnitude)
    return _linear_autoencoder(config, weights, applied, activation)


def _jump_relu(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    if "log_threshold" in weights and "threshold" not in weights:
        weights["threshold"] = weights["log_threshold"].exp()
    threshold = take(weights, config, "threshold", config.n_latents)
    return _linear_autoencoder(config, weights, applied, JumpReLU(_not_negative(threshold, "threshold", config)))


def _not_negative(threshold: Tensor, name: str, config: SaelensConfig) -> Tensor:
    if not bool((threshold >= 0).all()):  # false for NaN too
        raise AutoencoderFormatError(
            f"{config.folder}: {name} holds {float(threshold.min()):g}; thresholds must be 0 or more."
        )
    return threshold


def _batch_top_k(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    threshold = _not_negative(take(weights, config, "topk_threshold"), "topk_threshold", config)
    applied.append("the top k of a batch is replaced by the threshold that training estimated for it")
    bias = take(weights, config, "b_enc", config.n_latents)
    return _linear_autoencoder(config, weights, applied, JumpReLU(torch.ones_like(bias) * threshold.to(bias.dtype)))


def _gated(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    scale = take(weights, config, "r_mag", config.n_latents).exp()
    threshold = take(weights, config, "b_mag", config.n_latents) - scale * take(
        weights, config, "b_gate", config.n_latents
    )
    applied.append("the gate is written as an equivalent threshold on the magnitude")
    return _linear_autoencoder(config, weights, applied, JumpReLU(threshold), "b_mag", scale)


def _matching_pursuit(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    rows = take(weights, config, "W_dec", config.n_latents, config.n_inputs)
    bias = take(weights, config, "b_dec", config.n_inputs)
    most = None if config.settings.get("max_iterations") is None else config.count("max_iterations", 1)
    return MatchingPursuitAutoencoder(
        encoder_weight=rows,
        decoder_weight=rows.T,
        pre_bias=bias if config.subtracts_output_bias else torch.zeros_like(bias),
        latent_bias=torch.zeros_like(rows[:, 0]),
        input_scaling=input_scaling(config, applied),
        applied=tuple(applied),
        residual_threshold=config.number("residual_threshold", 1e-2, or_equal=True),
        max_iterations=most,
        stop_on_duplicate_support=bool(config.settings.get("stop_on_duplicate_support", True)),
    )


def _temporal(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    inputs, latents, settings = config.n_inputs, config.n_latents, config.settings
    rows = take(weights, config, "W_dec", latents, inputs)
    bias = take(weights, config, "b_dec", inputs)
    is_tied = bool(settings.get("tied_weights", True))
    is_top_k = settings.get("sae_diff_type", "topk") == "topk" and settings.get("kval_topk") is not None
    narrow = latents // config.count("bottleneck_factor", 64)
    n_heads = config.count("n_heads", 8)
    if narrow % n_heads or latents % n_heads or not narrow:
        raise AutoencoderFormatError(
            f"{config.folder}: {latents} latents with bottleneck_factor {config.settings.get('bottleneck_factor', 64)} "
            f"cannot be shared among {n_heads} heads."
        )

    def attention(number: int) -> PredictionAttention:
        def weight(name: str, outputs: int) -> tuple[Tensor, Tensor]:
            prefix = f"attn_layers.{number}.{name}"
            return (
                take(weights, config, f"{prefix}.weight", outputs, latents),
                take(weights, config, f"{prefix}.bias", outputs),
            )

        return PredictionAttention(
            n_heads,
            *weight("q_target", narrow),
            *weight("k_ctx", narrow),
            *weight("v_ctx", latents),
            *weight("c_proj", latents),
        )

    return TemporalAutoencoder(
        encoder_weight=rows if is_tied else take(weights, config, "W_enc", inputs, latents).T,
        decoder_weight=rows.T,
        pre_bias=bias if config.subtracts_output_bias else torch.zeros_like(bias),
        latent_bias=torch.zeros_like(rows[:, 0]),
        activation=TopK(config.count("kval_topk", 1)) if is_top_k else ReLU(),
        output_bias=bias if config.subtracts_output_bias or not is_tied else torch.zeros_like(bias),
        input_scaling=input_scaling(config, applied),
        applied=tuple(applied),
        attention_layers=tuple(attention(number) for number in range(config.count("n_attn_layers", 1, most=1000))),
        input_factor=_input_factor(config, applied),
    )


def _input_factor(config: SaelensConfig, applied: list[str]) -> float:
    """The constant that a temporal autoencoder multiplies its inputs by; its encoder cannot take it up."""
    match config.input_normalization:
        case "constant_scalar_rescale":
            factor = config.number("activation_normalization_factor", 1.0)
        case "expected_average_only_in":
            factor = scaling_factor(config)
        case _:
            return 1.0
    applied.append(f"inputs are multiplied by {factor:g}, and that is undone after decoding")
    return factor


BUILDER_BY_ARCHITECTURE: dict[str, Callable[[SaelensConfig, Weights, list[str]], Autoencoder]] = {
    "standard": _standard,
    "topk": _top_k,
    "abstopk": _top_k,
    "jumprelu": _jump_relu,
    "batchtopk": _batch_top_k,
    "matryoshka_batchtopk": _batch_top_k,
    "gated": _gated,
    "matching_pursuit": _matching_pursuit,
    "temporal": _temporal,
}
