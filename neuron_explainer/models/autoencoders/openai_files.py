"""Autoencoders from files: OpenAI's state dicts (`.pt`), by path or URL, and SAELens' folders."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import Identity, LatentActivation, ReLU, TopK
from neuron_explainer.models.autoencoders.places import AutoencoderOrigin
from neuron_explainer.models.autoencoders.saelens import is_saelens_folder, load_saelens_autoencoder
from neuron_explainer.models.tensor_files.pytorch_files import read_pytorch_file
from neuron_explainer.storage.locations import is_url, without_secrets

_REQUIRED = ("encoder.weight", "pre_bias", "latent_bias")
_DECODER = "decoder.weight"
_TIED_DECODER = "decoder.linear.weight"
_STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
_ACTIVATION = "activation"
_ACTIVATION_STATE = "activation_state_dict"


def load_autoencoder(
    source: str | os.PathLike[str], device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Autoencoder, AutoencoderOrigin]:
    """The autoencoder in a `.pt` file (a path or URL) or a SAELens folder, and what the file says of itself.

    Raises:
        MissingFileError: there is nothing at that place.
        DownloadError: the URL could not be read.
        MalformedCheckpointError: the file is damaged or no PyTorch file.
        UnsupportedCheckpointError: it holds more than tensors, numbers and strings, which reading could run.
        AutoencoderFormatError: it is no autoencoder.
    """
    if not is_url(source) and is_saelens_folder(source):
        return load_saelens_autoencoder(source, device, dtype)
    state_dict = read_pytorch_file(source)
    if not isinstance(state_dict, Mapping):
        raise AutoencoderFormatError(
            f"{without_secrets(source)} holds a {type(state_dict).__name__}, not a state dict."
        )
    autoencoder = autoencoder_from_state_dict(state_dict, without_secrets(source))
    activation = state_dict.get(_ACTIVATION)
    origin = AutoencoderOrigin(architecture=activation if isinstance(activation, str) else None)
    return autoencoder.to(device, dtype), origin


def autoencoder_from_state_dict(state_dict: Mapping[str, Any], source: str = "the state dict") -> Autoencoder:
    """An autoencoder from a state dict as OpenAI saves them.

    Its entries are `encoder.weight` (latents, inputs), `decoder.weight` (inputs, latents), `pre_bias`, `latent_bias`,
    maybe `stats_last_nonzero`, and `activation` ("ReLU" if not said, "Identity", or "TopK" with an
    `activation_state_dict` of k and postact_fn). The TopK ones were trained on inputs with LayerNorm applied, which is
    applied here too.

    Args:
        state_dict: the entries.
        source: what error messages call it.

    Raises:
        AutoencoderFormatError: an entry is missing, unknown, misshapen or not finite.
    """
    known = {*_REQUIRED, _DECODER, _TIED_DECODER, *_STATISTICS, _ACTIVATION, _ACTIVATION_STATE}
    unknown = [str(key) for key in state_dict if key not in known]
    if unknown:
        raise AutoencoderFormatError(f"{source}: an autoencoder's state dict has no {unknown}; it has {sorted(known)}.")
    has_decoder = _DECODER in state_dict
    for name in (*_REQUIRED, _DECODER if has_decoder else _TIED_DECODER):
        if not isinstance(state_dict.get(name), Tensor):
            wanted = name if name != _TIED_DECODER else _DECODER
            raise AutoencoderFormatError(f"{source}: the tensor {wanted!r} is missing; there is {sorted(state_dict)}.")
        if not state_dict[name].is_floating_point() or state_dict[name].ndim != (2 if "weight" in name else 1):
            raise AutoencoderFormatError(
                f"{source}: {name!r} is {state_dict[name].dtype} of shape {tuple(state_dict[name].shape)}; a "
                f"floating-point {'matrix' if 'weight' in name else 'vector'} is needed."
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
        raise AutoencoderFormatError(f"{source}: the activation {name!r} is not known; ReLU, Identity and TopK are.")
    settings = state_dict.get(_ACTIVATION_STATE)
    if not isinstance(settings, Mapping) or "k" not in settings:
        raise AutoencoderFormatError(
            f"{source}: TopK needs {_ACTIVATION_STATE!r} with its k; there is {settings!r:.100}."
        )
    after = settings.get("postact_fn", "ReLU")
    if after not in ("ReLU", "Identity"):
        raise AutoencoderFormatError(f"{source}: postact_fn {after!r} is not known; ReLU and Identity are.")
    k = settings["k"]
    return TopK(int(k) if isinstance(k, Tensor) and k.numel() == 1 else k, relu=after == "ReLU")
