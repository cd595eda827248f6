"""Settings of SAELens that scale inputs or latents: each is folded into the weights, or becomes an `InputScaling`."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, shown
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig
from neuron_explainer.models.autoencoders.saelens.weights import Weights, read_tensors, take
from neuron_explainer.storage.local import opened_file
from neuron_explainer.vocabulary.checks import finite_number

SCALER_FILE = "activation_scaler.json"
WHITENING_FILE = "activation_whitening.safetensors"
_MOST_SCALER_BYTES = 10_000
_RESCALED = {"topk", "abstopk", "batchtopk", "matryoshka_batchtopk"}
"""The architectures that have `rescale_acts_by_decoder_norm`; elsewhere it means nothing."""


def input_scaling(config: SaelensConfig, applied: list[str]) -> InputScaling:
    """The scaling of each token's input while the model runs; it is noted in `applied`.

    Raises:
        AutoencoderFormatError: two settings are combined in a way that is not supported.
    """
    scaling = InputScaling.NONE
    if config.input_normalization in (InputScaling.LAYER_NORM.value, InputScaling.UNIT_MEAN_SQUARE.value):
        scaling = InputScaling(config.input_normalization)
        applied.append(f"each token's input is scaled by {scaling.value}, and that is undone after decoding")
    if config.is_of_centred_model and scaling is not InputScaling.LAYER_NORM:
        if scaling is not InputScaling.NONE:
            raise AutoencoderFormatError(
                f"{config.source}: {scaling.value} on a model with centred writing weights is not supported."
            )
        scaling = InputScaling.CENTER
        applied.append(
            "each token's mean is subtracted from the input and added back after decoding, because the autoencoder was "
            "trained on a model whose writing weights had been centred (center_writing_weights)"
        )
    return scaling


def fold(config: SaelensConfig, weights: Weights, applied: list[str]) -> SaelensConfig:
    """Fold everything that is constant into the weights, in the order in which the autoencoder was trained.

    Latents are chosen by their values times the norms of the decoder's rows as training has them, so a whitening, which
    changes each norm by another factor, is folded after them. One scale for all inputs changes all norms alike; it is
    folded first, as SAELens does, and latents are then the lengths of the vectors that they write.

    Returns:
        The config with the thresholds that go with the folded weights.

    Raises:
        AutoencoderFormatError: a file is missing or damaged, or a setting is not supported for the architecture.
    """
    rescales = config.architecture in _RESCALED and bool(config.settings.get("rescale_acts_by_decoder_norm"))
    match config.input_normalization:
        case "none" | "layer_norm" | "constant_norm_rescale":
            pass
        case "constant_scalar_rescale" if config.architecture == "temporal":
            pass
        case "expected_average_only_in":
            scale = scaling_factor(config)
            if config.architecture != "temporal":  # which applies it while it runs
                config = _fold_scale(config, weights, scale, rescales)
                said_by = SCALER_FILE if config.input_scale is None else "as published"
                applied.append(f"the inputs' scale {scale:g} is folded into the weights ({said_by})")
        case "covariance_whitening" if config.architecture not in ("temporal", "matching_pursuit"):
            if rescales:
                _fold_decoder_norm(config, weights, applied)
            _fold_whitening(config, weights)
            applied.append(f"the inputs' whitening is folded into the weights ({WHITENING_FILE})")
            return config
        case other:
            raise AutoencoderFormatError(
                f"{config.source}: normalize_activations {shown(other, 100)} is not supported for "
                f"{config.architecture}."
            )
    if rescales:
        _fold_decoder_norm(config, weights, applied)
    return config


def _fold_scale(config: SaelensConfig, weights: Weights, scale: float, rescales: bool) -> SaelensConfig:
    weights["b_dec"] = _tensor(config, weights, "b_dec") / scale
    if config.architecture == "matching_pursuit":
        # Its directions stay as they are; amounts and the remaining input are in the units of the inputs.
        threshold = config.number("residual_threshold", 1e-2, or_equal=True) / scale
        return replace(config, settings={**config.settings, "residual_threshold": threshold})
    weights["W_enc"] = _tensor(config, weights, "W_enc") * scale
    weights["W_dec"] = _tensor(config, weights, "W_dec") / scale
    if rescales and "topk_threshold" in weights:
        # It is compared with a latent times the norm of its row, which has just been divided by the scale.
        weights["topk_threshold"] = weights["topk_threshold"] / scale
    return config


def _fold_decoder_norm(config: SaelensConfig, weights: Weights, applied: list[str]) -> None:
    """Fold the norms n of the decoder's rows into the encoder: W_enc * n, b_enc * n and W_dec / n.

    A latent's value is then the length of the vector that it writes.
    """
    rows = _tensor(config, weights, "W_dec")
    norm = rows.norm(dim=-1)
    weights["W_enc"] = _tensor(config, weights, "W_enc") * norm
    # A row of zeros writes nothing, whatever its latent is.
    weights["W_dec"] = rows / norm.clamp_min(torch.finfo(norm.dtype).tiny)[:, None]
    weights["b_enc"] = _tensor(config, weights, "b_enc") * norm
    applied.append("the decoder rows' norms are folded into the encoder (rescale_acts_by_decoder_norm)")


def _tensor(config: SaelensConfig, weights: Weights, name: str) -> Tensor:
    inputs, latents = config.n_inputs, config.n_latents
    sizes = {"W_enc": (inputs, latents), "W_dec": (latents, inputs), "b_dec": (inputs,), "b_enc": (latents,)}
    return take(weights, config, name, *sizes[name])


def scaling_factor(config: SaelensConfig) -> float:
    """The factor of all inputs, from the file that SAELens keeps beside the weights of an unfinished training.

    Raises:
        AutoencoderFormatError: the file is missing, or does not give a finite number above 0.
    """
    scale = config.input_scale
    if scale is None and config.folder is not None:
        scale = _saved_factor(config.folder / SCALER_FILE)
    if scale is None or scale <= 0:
        if config.folder is None:
            raise AutoencoderFormatError(
                f"{config.source}: inputs were scaled in training (normalize_activations 'expected_average_only_in'), "
                "but the object does not hold the factor. Call its fold_activation_norm_scaling_factor(factor) first."
            )
        raise AutoencoderFormatError(
            f"{config.source}: inputs were scaled in training (normalize_activations 'expected_average_only_in'), but "
            f'the folder does not give the factor. Write {{"scaling_factor": …}} to {SCALER_FILE} in it, or save the '
            "autoencoder with the factor folded in."
        )
    return scale


def _saved_factor(path: Path) -> float | None:
    """The factor in a file; None if it does not give a finite number."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError), opened_file(path) as file:
        return finite_number(json.loads(file.read(_MOST_SCALER_BYTES))["scaling_factor"])
    return None


def _fold_whitening(config: SaelensConfig, weights: Weights) -> None:
    """Replace weights that encode z = (x - mean) M and decode x = z M^-1 + mean by weights that take and give x."""
    whitening = read_tensors(config, WHITENING_FILE, "inputs were whitened in training")
    inputs = config.n_inputs
    shapes = {"mean": (inputs,), "matrix": (inputs, inputs), "inverse_matrix": (inputs, inputs)}
    mean, matrix, inverse = (take(whitening, config, name, *shape) for name, shape in shapes.items())
    encoder, decoder, bias = (_tensor(config, weights, name) for name in ("W_enc", "W_dec", "b_dec"))
    saved = encoder.dtype
    wide = torch.promote_types(saved, matrix.dtype)  # a file of weights may be in half precision, and this one not
    mean, matrix, inverse = mean.to(wide), matrix.to(wide), inverse.to(wide)
    folded = {"W_enc": matrix @ encoder.to(wide)}
    if not config.subtracts_output_bias:
        shift = mean @ folded["W_enc"]
        for name in ("b_enc", "b_gate", "b_mag"):
            if name in weights:
                scaled = shift * weights["r_mag"].exp() if name == "b_mag" and "r_mag" in weights else shift
                folded[name] = weights[name] - scaled
    folded["W_dec"] = decoder.to(wide) @ inverse
    folded["b_dec"] = bias.to(wide) @ inverse + mean
    weights.update({name: tensor.to(saved) for name, tensor in folded.items()})
