"""Autoencoders in OpenAI's form: a state dict in a `.pt` file, at a path or an address."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.autoencoder_format import AutoencoderFormat
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import Identity, LatentActivation, ReLU, TopK
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.tensor_files.pytorch_files import read_pytorch_file
from neuron_explainer.storage.locations import is_url, without_secrets

_REQUIRED = ("encoder.weight", "pre_bias", "latent_bias")
_DECODER = "decoder.weight"
_TIED_DECODER = "decoder.linear.weight"
_STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
_ACTIVATION = "activation"
_ACTIVATION_STATE = "activation_state_dict"


class OpenAIFile(AutoencoderFormat):
    """A `.pt` file with a state dict as OpenAI saves them. It does not say its place, layer or model."""

    name = "OpenAI .pt file (a path or an address)"

    def matches(self, source: str) -> bool:
        """An address, or a path that is not a folder."""
        return is_url(source) or not Path(source).is_dir()

    def load(
        self, source: str, device: torch.device | str, dtype: torch.dtype | None
    ) -> tuple[Autoencoder, AutoencoderOrigin]:
        """The autoencoder in the file; the origin has its architecture and width.

        Raises:
            MissingFileError: the file does not exist.
            DownloadError: the address could not be read.
            MalformedCheckpointError: the file is damaged or not a PyTorch file.
            UnsupportedCheckpointError: it holds more than tensors, numbers and strings; reading that could run code.
            AutoencoderFormatError: it is not an autoencoder.
        """
        state_dict = read_pytorch_file(source)
        if not isinstance(state_dict, Mapping):
            raise AutoencoderFormatError(
                f"{without_secrets(source)} holds an object of type {type(state_dict).__name__}, not a state dict."
            )
        autoencoder = autoencoder_from_state_dict(state_dict, without_secrets(source))
        activation = state_dict.get(_ACTIVATION)
        origin = AutoencoderOrigin(
            architecture=activation if isinstance(activation, str) else None, n_inputs=autoencoder.n_inputs
        )
        return autoencoder.to(device, dtype), origin


def autoencoder_from_state_dict(state_dict: Mapping[str, Any], source: str = "the state dict") -> Autoencoder:
    """An autoencoder from a state dict as OpenAI saves them.

    The format is that of https://github.com/openai/sparse_autoencoder. The entries are `encoder.weight` (latents,
    inputs), `decoder.weight` (inputs, latents), `pre_bias`, `latent_bias`, optionally `stats_last_nonzero`, and
    `activation`: "ReLU" (the default), "Identity", or "TopK" with an `activation_state_dict` of k and postact_fn. TopK
    autoencoders were trained on layer-normed inputs, so their inputs are layer-normed here too.

    Args:
        state_dict: the entries.
        source: what error messages call it.

    Raises:
        AutoencoderFormatError: an entry is missing, unknown, misshapen or not finite.
    """
    known = {*_REQUIRED, _DECODER, _TIED_DECODER, *_STATISTICS, _ACTIVATION, _ACTIVATION_STATE}
    unknown = [str(key) for key in state_dict if key not in known]
    if unknown:
        raise AutoencoderFormatError(
            f"{source}: the entries {unknown} do not belong in an autoencoder's state dict. Known entries: "
            f"{sorted(known)}."
        )
    has_decoder = _DECODER in state_dict
    for name in (*_REQUIRED, _DECODER if has_decoder else _TIED_DECODER):
        tensor = state_dict.get(name)
        if not isinstance(tensor, Tensor):
            missing = name if name != _TIED_DECODER else _DECODER
            raise AutoencoderFormatError(
                f"{source}: the tensor {missing!r} is missing; the entries are {sorted(state_dict)}."
            )
        if not tensor.is_floating_point() or tensor.ndim != (2 if "weight" in name else 1):
            raise AutoencoderFormatError(
                f"{source}: {name!r} is {tensor.dtype} of shape {tuple(tensor.shape)}; it must be a floating-point "
                f"{'matrix' if 'weight' in name else 'vector'}."
            )
    activation = _activation(state_dict, source)
    is_normalized = isinstance(activation, TopK)
    last_nonzero = state_dict.get(_STATISTICS[0])
    try:
        return Autoencoder(
            encoder_weight=state_dict["encoder.weight"],
            decoder_weight=state_dict[_DECODER] if has_decoder else state_dict[_TIED_DECODER].T,
            pre_bias=state_dict["pre_bias"],
            latent_bias=state_dict["latent_bias"],
            activation=activation,
            input_scaling=InputScaling.LAYER_NORM if is_normalized else InputScaling.NONE,
            last_nonzero=last_nonzero if isinstance(last_nonzero, Tensor) else None,
            applied=("each token's input is layer-normed, as for all TopK state dicts",) if is_normalized else (),
        )
    except AutoencoderFormatError as error:
        raise AutoencoderFormatError(f"{source}: {error}") from None


def _activation(state_dict: Mapping[str, Any], source: str) -> LatentActivation:
    name = state_dict.get(_ACTIVATION, "ReLU")
    if name == "ReLU":
        return ReLU()
    if name == "Identity":
        return Identity()
    if name != "TopK":
        raise AutoencoderFormatError(
            f"{source}: the activation function {name!r} is not supported; ReLU, Identity and TopK are."
        )
    settings = state_dict.get(_ACTIVATION_STATE)
    if not isinstance(settings, Mapping) or "k" not in settings:
        raise AutoencoderFormatError(
            f"{source}: TopK needs {_ACTIVATION_STATE!r} with its k; found {shown(settings, 100)}."
        )
    after = settings.get("postact_fn", "ReLU")
    if after not in ("ReLU", "Identity"):
        raise AutoencoderFormatError(f"{source}: postact_fn {after!r} is not supported; ReLU and Identity are.")
    k = settings["k"]
    return TopK(int(k) if isinstance(k, Tensor) and k.numel() == 1 else k, relu=after == "ReLU")
