"""Loading one autoencoder, from whichever format it is in."""

import os
from dataclasses import replace
from typing import cast

import torch

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.formats import autoencoder_format_of
from neuron_explainer.models.autoencoders.in_memory import WHAT_IS_TAKEN, autoencoder_in_memory, is_autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.published.locating import name_of_one
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype
from neuron_explainer.notices import AssumedSettingWarning, warn
from neuron_explainer.storage.locations import path_text, without_secrets
from neuron_explainer.vocabulary.checks import whole_number


def load_autoencoder(
    source: str | os.PathLike[str] | object,
    sae_id: str | DeviceGiven | None = None,
    device: DeviceGiven | DtypeGiven | None = None,
    dtype: DtypeGiven | None = None,
    *,
    input_scaling: InputScaling | str | None = None,
) -> tuple[Autoencoder, AutoencoderOrigin]:
    """Load one autoencoder: of a release on the hub, from a file or folder, or from an object in memory.

    For use with a model and `derive`, `load_autoencoders` gives a context with one autoencoder for each layer.

    Example:
        autoencoder, origin = ne.load_autoencoder("saes/blocks.3.hook_mlp_out")
        latents = autoencoder.encode(activations)  # (…, inputs) → (…, latents)
        ne.load_autoencoder("gpt2-small-res-jb", "blocks.8.hook_resid_pre")

    Args:
        source: a path or an address of a file in OpenAI's form or a SAELens folder; a release that SAELens knows by
            name; a repository on the hub, "owner/name"; or in memory: an SAE or a transcoder of SAELens, a state dict
            in OpenAI's form, or an `Autoencoder`.
        sae_id: which autoencoder of a release; of a repository on the hub or a folder, the folder in it. (Without one,
            the device may stand in its place.)
        device: where the weights go; None means CUDA if available, else the CPU; for an object in memory, its own.
        dtype: the weights' floating-point dtype; None leaves it as it is.
        input_scaling: how each token's input was scaled in training, if the source does not say it or is wrong: "none",
            "layer_norm", "constant_norm_rescale" or "center" (minus its mean over channels, for autoencoders of a model
            whose writing weights had been centred). None means what the source says.

    Returns:
        The autoencoder, and what its file says about its origin: place, layer, base model, architecture; None for
        what it does not say.

    Raises:
        MissingFileError: the source does not exist.
        DownloadError: the address or the hub could not be read.
        CheckpointNotFoundError: without a connection, the hub's cache does not have the autoencoder.
        CheckpointError: the file is damaged, or reading it could run code.
        AutoencoderFormatError: the source is in no known format (the error lists them), or is not a valid autoencoder.
        InvalidRequestError: the source is an object of another type, a release without `sae_id`, or in memory with one.
        UnknownNameError: `input_scaling` is not the name of a scaling; or no release or repository is called so, or has
            this autoencoder.

    Warns:
        AssumedSettingWarning: the source does not say how inputs were scaled; the warning says what was assumed.
    """
    if _is_device(sae_id):
        dtype = cast("DtypeGiven | None", device) if dtype is None else dtype
        sae_id, device = None, sae_id
    place = cast("DeviceGiven | None", device)
    weights_dtype = None if dtype is None else as_dtype(dtype)
    if is_autoencoder(source):
        if sae_id is not None:
            raise InvalidRequestError(f"An autoencoder in memory has no sae_id. Leave {shown(sae_id)} out.")
        autoencoder, origin = autoencoder_in_memory(source)
        autoencoder = autoencoder.to(None if place is None else as_device(place), weights_dtype)
        name = type(source).__name__
    elif isinstance(source, str | os.PathLike):
        text = name_of_one(path_text(source), sae_id)
        name = without_secrets(text)
        autoencoder, origin = autoencoder_format_of(text).load(text, as_device(place), weights_dtype)
    else:
        raise InvalidRequestError(f"{shown(source)} is not an autoencoder. Give {WHAT_IS_TAKEN}.")
    if input_scaling is not None:
        return autoencoder.with_input_scaling(input_scaling), replace(origin, assumed=None)
    if origin.assumed is not None:
        warn(f"{name} does not say how inputs were scaled. This assumes {origin.assumed}.", AssumedSettingWarning)
    return autoencoder, origin


def _is_device(given: object) -> bool:
    """Whether a caller gave a device, its name or its number: no autoencoder's id is like one."""
    if isinstance(given, str):
        try:
            torch.device(given.lower())
        except RuntimeError:
            return False
        return True
    return isinstance(given, torch.device) or whole_number(given) is not None
