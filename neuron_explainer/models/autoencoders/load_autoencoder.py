"""Loading one autoencoder, from whichever format it is in."""

import os

from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.formats import autoencoder_format_of
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype
from neuron_explainer.storage.locations import path_text


def load_autoencoder(
    source: str | os.PathLike[str],
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
) -> tuple[Autoencoder, AutoencoderOrigin]:
    """Load one autoencoder: from a file or an address in OpenAI's form, or a SAELens folder.

    For use with a model and `derive`, `load_autoencoders` gives a context with one autoencoder for each layer.

    Example:
        autoencoder, origin = ne.load_autoencoder("saes/blocks.3.hook_mlp_out")
        latents = autoencoder.encode(activations)  # (…, inputs) → (…, latents)

    Args:
        source: a path or an address.
        device: where the weights go; None means CUDA if available, else the CPU.
        dtype: the weights' floating-point dtype; None leaves it as it is in the file.

    Returns:
        The autoencoder, and what its file says about its origin: place, layer, base model, architecture; None for
        what it does not say.

    Raises:
        MissingFileError: the source does not exist.
        DownloadError: the address could not be read.
        CheckpointError: the file is damaged, or reading it could run code.
        AutoencoderFormatError: the source is in no known format (the error lists them), or is not a valid autoencoder.
    """
    weights_dtype = None if dtype is None else as_dtype(dtype)
    text = path_text(source)
    return autoencoder_format_of(text).load(text, as_device(device), weights_dtype)
