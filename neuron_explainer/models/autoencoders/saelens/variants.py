"""Architectures of SAELens that are more than a linear map and an activation function, each built from its tensors."""

import torch
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import JumpReLU, ReLU, TopK
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig
from neuron_explainer.models.autoencoders.saelens.folding import input_scaling, scaling_factor
from neuron_explainer.models.autoencoders.saelens.linear import not_negative
from neuron_explainer.models.autoencoders.saelens.weights import Weights, take
from neuron_explainer.models.autoencoders.variants.matching_pursuit import MatchingPursuitAutoencoder
from neuron_explainer.models.autoencoders.variants.temporal import PredictionAttention, TemporalAutoencoder
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder


def matching_pursuit(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """Latents found one at a time."""
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


def temporal(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """Latents of what attention over earlier tokens does not predict."""
    inputs, latents, settings = config.n_inputs, config.n_latents, config.settings
    rows = take(weights, config, "W_dec", latents, inputs)
    bias = take(weights, config, "b_dec", inputs)
    is_tied = bool(settings.get("tied_weights", True))
    is_top_k = settings.get("sae_diff_type", "topk") == "topk" and settings.get("kval_topk") is not None
    narrow = latents // config.count("bottleneck_factor", 64)
    n_heads = config.count("n_heads", 8)
    if narrow % n_heads or latents % n_heads or not narrow:
        raise AutoencoderFormatError(
            f"{config.source}: {latents} latents with bottleneck_factor {config.settings.get('bottleneck_factor', 64)} "
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


def transcoder(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    """Latents that read one place and predict another; with `skip`, plus a linear map of the inputs."""
    if config.input_normalization not in ("none", "layer_norm"):
        raise AutoencoderFormatError(
            f"{config.source}: normalize_activations {shown(config.input_normalization, 100)} is not supported for "
            f"{config.architecture}. Supported: none and layer_norm."
        )
    if config.settings.get("apply_b_dec_to_input"):
        raise AutoencoderFormatError(
            f"{config.source}: apply_b_dec_to_input is set; a {config.architecture} writes to another place than it "
            "reads, so SAELens does not have this either."
        )
    activation = config.settings.get("activation_fn", "relu")
    if activation != "relu":
        raise AutoencoderFormatError(
            f"{config.source}: the activation function {shown(activation, 100)} is not supported for "
            f"{config.architecture}; relu is."
        )
    inputs, latents, outputs = config.n_inputs, config.n_latents, config.count("d_out", config.n_inputs)
    latent_bias = take(weights, config, "b_enc", latents)
    scaling = InputScaling.NONE
    if config.input_normalization == "layer_norm":
        scaling = InputScaling.LAYER_NORM
        applied.append("each token's input is layer-normed")
    if config.has_folded_norms:
        applied.append("the norms of the model that it was trained on were folded into its weights (fold_ln)")
    built = Transcoder(
        encoder_weight=take(weights, config, "W_enc", inputs, latents).T.contiguous(),
        decoder_weight=take(weights, config, "W_dec", latents, outputs).T,
        pre_bias=torch.zeros(inputs, dtype=latent_bias.dtype, device=latent_bias.device),
        latent_bias=latent_bias,
        activation=_transcoder_activation(config, weights),
        output_bias=take(weights, config, "b_dec", outputs),
        input_scaling=scaling,
        skip_weight=take(weights, config, "W_skip", outputs, inputs) if "skip" in config.architecture else None,
        reads=config.transcoder_input,
        has_folded_norms=config.has_folded_norms,
        predicts_before_post_norm=config.predicts_before_post_norm,
        applied=tuple(applied),
    )
    return built.with_input_scaling(InputScaling.CENTER) if config.has_centred_weights else built


def _transcoder_activation(config: SaelensConfig, weights: Weights) -> ReLU | JumpReLU:
    if "jumprelu" not in config.architecture:
        return ReLU()
    return JumpReLU(not_negative(take(weights, config, "threshold", config.n_latents), "threshold", config))
