"""Autoencoders in OpenAI's form: a state dict in a `.pt` file, at a path or an address."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import TypeIs

from neuron_explainer.errors import AutoencoderFormatError, nearest_first, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.autoencoder_format import AutoencoderFormat
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import Identity, LatentActivation, ReLU, TopK
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.devices import is_plain_float
from neuron_explainer.models.tensor_files.pytorch_files import read_pytorch_file
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.vocabulary.checks import whole_number

_REQUIRED = ("encoder.weight", "pre_bias", "latent_bias")
_DECODER = "decoder.weight"
_TIED_DECODER = "decoder.linear.weight"
_STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
_ACTIVATION = "activation"
_ACTIVATION_STATE = "activation_state_dict"
_KNOWN = sorted({*_REQUIRED, _DECODER, _TIED_DECODER, *_STATISTICS, _ACTIVATION, _ACTIVATION_STATE})
_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
_NESTED = ("state_dict", "model_state_dict", "model")
"""The usual names of a state dict within a file."""
_ASSUMED = (
    "that each token's input was layer-normed in training, as sparse_autoencoder does for TopK. Transformer Debugger "
    "does not. Pass input_scaling='layer_norm' or input_scaling='none'"
)


class OpenAIFile(AutoencoderFormat):
    """A `.pt` file with a state dict as OpenAI saves them. It does not say its place, layer or model."""

    name = "OpenAI .pt file (a path or an address)"

    def matches(self, source: str) -> bool:
        """An address, or a path that is not a folder. The empty path is the current folder, as for `pathlib`."""
        return is_url(source) or not os.path.isdir(source or os.curdir)

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
        name = without_secrets(source)
        if not isinstance(state_dict, Mapping):
            raise AutoencoderFormatError(
                f"{name} holds an object of type {type(state_dict).__name__}, not a state dict."
            )
        state_dict = without_wrapping(state_dict)
        autoencoder = autoencoder_from_state_dict(state_dict, name)
        return autoencoder.to(device, dtype), origin_of_state_dict(state_dict, autoencoder)


def is_state_dict(source: object) -> TypeIs[Mapping[Any, Any]]:
    """Whether an object in memory looks like a state dict in OpenAI's form."""
    return isinstance(source, Mapping) and any(name in without_wrapping(source) for name in _REQUIRED)


def without_wrapping(entries: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The state dict that is the only entry of another, and names without the prefix of a wrapper.

    More entries beside a nested state dict could say how inputs were scaled, so then it is not looked for.
    """
    if len(entries) == 1 and (name := next(iter(entries))) in _NESTED and isinstance(entries[name], Mapping):
        entries = entries[name]
    for wrapper in _WRAPPERS:
        if all(isinstance(name, str) and name.startswith(wrapper) for name in entries):
            entries = {name.removeprefix(wrapper): value for name, value in entries.items()}
    return entries


def origin_of_state_dict(state_dict: Mapping[Any, Any], autoencoder: Autoencoder) -> AutoencoderOrigin:
    """What a state dict says about its autoencoder: the activation function and the width."""
    activation = state_dict.get(_ACTIVATION)
    return AutoencoderOrigin(
        architecture=activation if isinstance(activation, str) else None,
        n_inputs=autoencoder.n_inputs,
        assumed=_ASSUMED if isinstance(autoencoder.activation, TopK) else None,
    )


def autoencoder_from_state_dict(state_dict: Mapping[Any, Any], source: str = "the state dict") -> Autoencoder:
    """An autoencoder from a state dict as OpenAI saves them.

    The format is that of https://github.com/openai/sparse_autoencoder. The entries are `encoder.weight` (latents,
    inputs), `decoder.weight` (inputs, latents), `pre_bias`, `latent_bias`, optionally `stats_last_nonzero`, and
    `activation`: "ReLU" (the default), "Identity", or "TopK" with an `activation_state_dict` of k and postact_fn.

    A state dict does not say whether inputs were layer-normed in training. As sparse_autoencoder does, this assumes
    that those of TopK autoencoders were, and no others; `with_input_scaling` changes it.

    Args:
        state_dict: the entries.
        source: what error messages call it.

    Raises:
        AutoencoderFormatError: an entry is missing, unknown, misshapen or not finite.
    """
    unknown = [key for key in state_dict if not isinstance(key, str) or key not in _KNOWN]
    nested = [key for key in unknown if is_state_dict(state_dict[key])]
    if nested:
        raise AutoencoderFormatError(
            f"{source}: the entry {shown(nested[0], 100)} looks like an autoencoder's state dict. Load the file with "
            "torch.load(…, weights_only=True), and give load_autoencoder that entry. The other entries "
            f"({shown([key for key in state_dict if key != nested[0]][:5], 200)}) may say how inputs were scaled: see "
            "input_scaling."
        )
    if unknown:
        raise AutoencoderFormatError(
            f"{source}: the entries {shown(unknown[:5], 200)} do not belong in an autoencoder's state dict. "
            f"Known entries: {', '.join(_KNOWN)}."
        )
    has_decoder = _DECODER in state_dict
    for name in (*_REQUIRED, _DECODER if has_decoder else _TIED_DECODER):
        tensor = state_dict.get(name)
        if not isinstance(tensor, Tensor):
            missing = name if name != _TIED_DECODER else _DECODER
            raise AutoencoderFormatError(
                f"{source}: the tensor {missing!r} is missing. "
                f"Entries: {', '.join(nearest_first(missing, state_dict))}."
            )
        if not is_plain_float(tensor) or tensor.ndim != (2 if "weight" in name else 1):
            raise AutoencoderFormatError(
                f"{source}: {name!r} is {tensor.dtype} of shape {tuple(tensor.shape)}; it must be a "
                f"floating-point {'matrix' if 'weight' in name else 'vector'} of 16 bits or more."
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
            applied=("each token's input is layer-normed, as sparse_autoencoder does for TopK",)
            if is_normalized
            else (),
        )
    except AutoencoderFormatError as error:
        raise AutoencoderFormatError(f"{source}: {error}") from None


def _activation(state_dict: Mapping[Any, Any], source: str) -> LatentActivation:
    name = state_dict.get(_ACTIVATION, "ReLU")
    if not isinstance(name, str):
        raise AutoencoderFormatError(f"{source}: the activation function is {shown(name, 100)}; it must be a name.")
    if name == "ReLU":
        return ReLU()
    if name == "Identity":
        return Identity()
    if name != "TopK":
        raise AutoencoderFormatError(
            f"{source}: the activation function {shown(name, 100)} is not supported; ReLU, Identity and TopK are."
        )
    settings = state_dict.get(_ACTIVATION_STATE)
    if not isinstance(settings, Mapping) or "k" not in settings:
        raise AutoencoderFormatError(
            f"{source}: TopK needs {_ACTIVATION_STATE!r} with its k; found {shown(settings, 100)}."
        )
    after = settings.get("postact_fn", "ReLU")
    if not isinstance(after, str) or after not in ("ReLU", "Identity"):
        raise AutoencoderFormatError(
            f"{source}: postact_fn {shown(after, 100)} is not supported; ReLU and Identity are."
        )
    k = whole_number(settings["k"])
    if k is None or k < 1:
        raise AutoencoderFormatError(
            f"{source}: k of a TopK autoencoder is {shown(settings['k'])}; it must be a whole number above 0."
        )
    return TopK(k, relu=after == "ReLU")
