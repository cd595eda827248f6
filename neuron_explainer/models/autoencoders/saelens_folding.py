"""Settings of SAELens that scale inputs or latents: each is folded into the weights, or becomes an `InputScaling`."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.saelens_config import SaelensConfig

_SCALER_FILE = "activation_scaler.json"
_WHITENING_FILE = "activation_whitening.safetensors"


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
                f"{config.folder}: {scaling.value} on a model with centred writing weights is not supported."
            )
        scaling = InputScaling.CENTER
        applied.append(
            "each token's mean is subtracted from the input and added back after decoding, because the autoencoder was "
            "trained on a model whose writing weights had been centred (center_writing_weights)"
        )
    return scaling


def fold_input_scale(config: SaelensConfig, weights: dict[str, Tensor], applied: list[str]) -> None:
    """Fold a constant scale or a whitening of the inputs into the weights.

    SAELens keeps these in a file of their own, beside the weights of an unfinished training.

    Raises:
        AutoencoderFormatError: the file is missing or damaged, or the normalization is not supported.
    """
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


def fold_decoder_norm(weights: dict[str, Tensor], applied: list[str]) -> None:
    """Fold the norms n of the decoder's rows into the encoder: W_enc * n, b_enc * n and W_dec / n.

    A latent's value is then the length of the vector that it writes.
    """
    norm = weights["W_dec"].norm(dim=-1)
    weights["W_enc"] = weights["W_enc"] * norm
    weights["W_dec"] = weights["W_dec"] / norm[:, None]
    weights["b_enc"] = weights["b_enc"] * norm
    applied.append("the decoder rows' norms are folded into the encoder (rescale_acts_by_decoder_norm)")


def _scaling_factor(config: SaelensConfig) -> float:
    path = Path(config.folder) / _SCALER_FILE
    try:
        scale = json.loads(path.read_text())["scaling_factor"]
    except (OSError, ValueError, KeyError, TypeError):
        scale = None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise AutoencoderFormatError(
            f"{config.folder}: inputs were scaled in training (normalize_activations 'expected_average_only_in'), but "
            f'the folder does not give the factor. Write {{"scaling_factor": …}} to {_SCALER_FILE} in it, or save the '
            "autoencoder with the factor folded in."
        )
    return float(scale)


def _fold_whitening(config: SaelensConfig, weights: dict[str, Tensor]) -> None:
    """Replace weights that encode z = (x - mean) M and decode x = z M^-1 + mean by weights that take and give x."""
    path = Path(config.folder) / _WHITENING_FILE
    try:
        whitening = load_file(path)
        mean, matrix, inverse = whitening["mean"], whitening["matrix"], whitening["inverse_matrix"]
    except (OSError, SafetensorError, KeyError) as error:
        raise AutoencoderFormatError(
            f"{config.folder}: inputs were whitened in training, but {_WHITENING_FILE} cannot be read: {error}"
        ) from error
    weights["W_enc"] = matrix @ weights["W_enc"]
    if not config.subtracts_output_bias:
        shift = mean @ weights["W_enc"]
        for bias in ("b_enc", "b_gate", "b_mag"):
            if bias in weights:
                scaled = shift * weights["r_mag"].exp() if bias == "b_mag" and "r_mag" in weights else shift
                weights[bias] = weights[bias] - scaled
    weights["W_dec"] = weights["W_dec"] @ inverse
    weights["b_dec"] = weights["b_dec"] @ inverse + mean
