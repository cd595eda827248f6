"""Autoencoders as SAELens saves them: a folder with `cfg.json` and `sae_weights.safetensors`.

Every setting that changes the numbers is either applied, and said in `Autoencoder.applied`, or refused.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import JumpReLU, LatentActivation, ReLU, TopK
from neuron_explainer.models.autoencoders.places import AutoencoderOrigin
from neuron_explainer.models.autoencoders.saelens_config import CONFIG_FILE, SaelensConfig, read_saelens_config
from neuron_explainer.models.autoencoders.variants import (
    MatchingPursuitAutoencoder,
    PredictionAttention,
    TemporalAutoencoder,
)

WEIGHTS_FILE = "sae_weights.safetensors"
_SCALER_FILE = "activation_scaler.json"
_WHITENING_FILE = "activation_whitening.safetensors"

Weights = dict[str, Tensor]


def is_saelens_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder with a configuration as SAELens writes it."""
    return (Path(path) / CONFIG_FILE).is_file()


def load_saelens_autoencoder(
    folder: str | os.PathLike[str], device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Autoencoder, AutoencoderOrigin]:
    """The autoencoder in a SAELens folder, and what its configuration says of it.

    Raises:
        AutoencoderFormatError: a file is missing or damaged, the configuration contradicts the weights or asks for
            something that the folder does not hold, or it is no autoencoder of one place (a transcoder).
    """
    config = read_saelens_config(folder)
    if config.architecture not in _READERS:
        hint = (
            " A transcoder reads one place and writes another: use load_transcoder."
            if "transcoder" in config.architecture
            else ""
        )
        raise AutoencoderFormatError(
            f"{config.folder}: the architecture {config.architecture!r} is not one of {sorted(_READERS)}.{hint}"
        )
    if config.settings.get("finetuning_scaling_factor") or config.metadata.get("hook_head_index") is not None:
        raise AutoencoderFormatError(
            f"{config.folder}: autoencoders with a finetuning scaling factor, or of a single head, are not supported."
        )
    weights = read_saelens_weights(config)
    applied: list[str] = []
    _fold_input_scale(config, weights, applied)
    if config.settings.get("rescale_acts_by_decoder_norm"):
        _fold_decoder_norm(weights, applied)
    autoencoder = _READERS[config.architecture](config, weights, applied)
    return autoencoder.to(device, dtype), config.origin


def read_saelens_weights(config: SaelensConfig) -> Weights:
    """The folder's tensors.

    Raises:
        AutoencoderFormatError: the file is missing or damaged.
    """
    path = Path(config.folder) / WEIGHTS_FILE
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise AutoencoderFormatError(f"{path} cannot be read: {error}") from error


def take(weights: Weights, config: SaelensConfig, name: str, *shape: int) -> Tensor:
    """One tensor of the file, of the shape that the configuration asks for.

    Raises:
        AutoencoderFormatError: it is missing or has another shape.
    """
    if name not in weights:
        raise AutoencoderFormatError(
            f"{config.folder}: {config.architecture} needs the tensor {name!r}; there is {sorted(weights)}."
        )
    tensor = weights[name]
    if tuple(tensor.shape) != shape:
        raise AutoencoderFormatError(
            f"{config.folder}: {name} is {tuple(tensor.shape)}; with d_in {config.n_inputs} and d_sae "
            f"{config.n_latents} it must be {shape}."
        )
    return tensor


def _input_scaling(config: SaelensConfig, applied: list[str]) -> InputScaling:
    scaling = InputScaling.NONE
    if config.input_normalization in (InputScaling.LAYER_NORM.value, InputScaling.UNIT_MEAN_SQUARE.value):
        scaling = InputScaling(config.input_normalization)
        applied.append(f"each token's input is scaled by {scaling.value}, and that is undone after decoding")
    if config.is_of_centred_model and scaling is not InputScaling.LAYER_NORM:
        if scaling is not InputScaling.NONE:
            raise AutoencoderFormatError(
                f"{config.folder}: {scaling.value} on a model with centred writing weights is not supported."
            )
        scaling = InputScaling.CENTER
        applied.append(
            "each token's mean is taken off the input and put back, because the autoencoder was trained on a model "
            "whose writing weights had been centred (center_writing_weights)"
        )
    return scaling


def _fold_input_scale(config: SaelensConfig, weights: Weights, applied: list[str]) -> None:
    """Fold a scale or whitening of the inputs, which SAELens keeps beside an unfinished training's weights."""
    if config.input_normalization in ("none", "layer_norm", "constant_norm_rescale"):
        return
    if config.input_normalization == "constant_scalar_rescale" and config.architecture == "temporal":
        return
    if config.input_normalization == "expected_average_only_in":
        scale = _scaling_factor(config)
        weights["W_enc"] = weights["W_enc"] * scale
        weights["W_dec"] = weights["W_dec"] / scale
        weights["b_dec"] = weights["b_dec"] / scale
        applied.append(f"the inputs' scale {scale:g} is folded into the weights ({_SCALER_FILE})")
        return
    if config.input_normalization != "covariance_whitening":
        raise AutoencoderFormatError(
            f"{config.folder}: normalize_activations {config.input_normalization!r} is not supported."
        )
    _fold_whitening(config, weights)
    applied.append(f"the inputs' whitening is folded into the weights ({_WHITENING_FILE})")


def _scaling_factor(config: SaelensConfig) -> float:
    path = Path(config.folder) / _SCALER_FILE
    try:
        scale = json.loads(path.read_text())["scaling_factor"]
    except (OSError, ValueError, KeyError, TypeError):
        scale = None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise AutoencoderFormatError(
            f"{config.folder}: its inputs were scaled in training (normalize_activations "
            f"'expected_average_only_in'), and the folder does not say by how much. Write "
            f'{{"scaling_factor": …}} to {_SCALER_FILE} in it, or save the autoencoder with the factor folded in.'
        )
    return float(scale)


def _fold_whitening(config: SaelensConfig, weights: Weights) -> None:
    """With z = (x - mean) M encoded and x = z M^-1 + mean decoded, the same from x itself."""
    path = Path(config.folder) / _WHITENING_FILE
    try:
        whitening = load_file(path)
        mean, matrix, inverse = whitening["mean"], whitening["matrix"], whitening["inverse_matrix"]
    except (OSError, SafetensorError, KeyError) as error:
        raise AutoencoderFormatError(
            f"{config.folder}: its inputs were whitened in training, and {_WHITENING_FILE}, which says how, cannot be "
            f"read: {error}"
        ) from error
    weights["W_enc"] = matrix @ weights["W_enc"]
    if not config.subtracts_output_bias:
        shift = mean @ weights["W_enc"]
        for bias, scale in (("b_enc", 1.0), ("b_gate", 1.0), ("b_mag", weights.get("r_mag", torch.zeros(1)).exp())):
            if bias in weights:
                weights[bias] = weights[bias] - shift * scale
    weights["W_dec"] = weights["W_dec"] @ inverse
    weights["b_dec"] = weights["b_dec"] @ inverse + mean


def _fold_decoder_norm(weights: Weights, applied: list[str]) -> None:
    """Latents in units of what they write: encoder rows and biases times the decoder rows' norms, those over theirs."""
    norm = weights["W_dec"].norm(dim=-1)
    weights["W_enc"] = weights["W_enc"] * norm
    weights["W_dec"] = weights["W_dec"] / norm[:, None]
    weights["b_enc"] = weights["b_enc"] * norm
    applied.append("the decoder rows' norms are folded into the encoder (rescale_acts_by_decoder_norm)")


def linear_autoencoder(
    config: SaelensConfig,
    weights: Weights,
    applied: list[str],
    activation: LatentActivation,
    latent_bias: str = "b_enc",
    encoder_scale: Tensor | None = None,
) -> Autoencoder:
    """The autoencoder with these weights, an activation function, and the name of its latents' bias."""
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
        input_scaling=_input_scaling(config, applied),
        applied=tuple(applied),
    )


def _standard(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    if config.settings.get("activation_fn", "relu") != "relu":
        raise AutoencoderFormatError(
            f"{config.folder}: the activation {config.settings['activation_fn']!r} is not supported; relu and topk are."
        )
    return linear_autoencoder(config, weights, applied, ReLU())


def _top_k(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    by_magnitude = config.architecture == "abstopk"
    activation = TopK(config.settings.get("k", 100), relu=not by_magnitude, by_magnitude=by_magnitude)
    return linear_autoencoder(config, weights, applied, activation)


def _jump_relu(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    if "log_threshold" in weights and "threshold" not in weights:
        weights["threshold"] = weights["log_threshold"].exp()
    return linear_autoencoder(config, weights, applied, JumpReLU(take(weights, config, "threshold", config.n_latents)))


def _batch_top_k(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    threshold = take(weights, config, "topk_threshold")
    applied.append("the batch's top k is replaced by the threshold that training estimated for it")
    bias = take(weights, config, "b_enc", config.n_latents)
    return linear_autoencoder(config, weights, applied, JumpReLU(torch.ones_like(bias) * threshold.to(bias.dtype)))


def _gated(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    scale = take(weights, config, "r_mag", config.n_latents).exp()
    threshold = take(weights, config, "b_mag", config.n_latents) - scale * take(
        weights, config, "b_gate", config.n_latents
    )
    applied.append("the gate is written as a threshold on the magnitude, which is the same")
    return linear_autoencoder(config, weights, applied, JumpReLU(threshold), "b_mag", scale)


def _matching_pursuit(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    rows = take(weights, config, "W_dec", config.n_latents, config.n_inputs)
    bias = take(weights, config, "b_dec", config.n_inputs)
    settings = config.settings
    return MatchingPursuitAutoencoder(
        encoder_weight=rows,
        decoder_weight=rows.T,
        pre_bias=bias if config.subtracts_output_bias else torch.zeros_like(bias),
        latent_bias=torch.zeros_like(rows[:, 0]),
        input_scaling=_input_scaling(config, applied),
        applied=tuple(applied),
        residual_threshold=float(settings.get("residual_threshold", 1e-2)),
        max_iterations=settings.get("max_iterations"),
        stop_on_duplicate_support=bool(settings.get("stop_on_duplicate_support", True)),
    )


def _temporal(config: SaelensConfig, weights: Weights, applied: list[str]) -> Autoencoder:
    inputs, latents, settings = config.n_inputs, config.n_latents, config.settings
    rows = take(weights, config, "W_dec", latents, inputs)
    bias = take(weights, config, "b_dec", inputs)
    is_tied = bool(settings.get("tied_weights", True))
    k = settings.get("kval_topk") if settings.get("sae_diff_type", "topk") == "topk" else None
    narrow = latents // int(settings.get("bottleneck_factor", 64))

    def attention(number: int) -> PredictionAttention:
        def weight(name: str, outputs: int) -> tuple[Tensor, Tensor]:
            prefix = f"attn_layers.{number}.{name}"
            return (
                take(weights, config, f"{prefix}.weight", outputs, latents),
                take(weights, config, f"{prefix}.bias", outputs),
            )

        return PredictionAttention(
            int(settings.get("n_heads", 8)),
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
        activation=ReLU() if k is None else TopK(k),
        output_bias=bias if config.subtracts_output_bias or not is_tied else torch.zeros_like(bias),
        input_scaling=_input_scaling(config, applied),
        applied=tuple(applied),
        attention_layers=tuple(attention(number) for number in range(int(settings.get("n_attn_layers", 1)))),
        input_factor=float(settings.get("activation_normalization_factor", 1.0))
        if config.input_normalization == "constant_scalar_rescale"
        else 1.0,
    )


_READERS: dict[str, Callable[[SaelensConfig, Weights, list[str]], Autoencoder]] = {
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
