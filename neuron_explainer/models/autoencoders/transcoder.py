"""Loading one transcoder, with what its file says about it."""

import os

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven
from neuron_explainer.storage.locations import without_secrets


def load_transcoder(
    source: str | os.PathLike[str], device: DeviceGiven | None = "cpu", dtype: DtypeGiven | None = None
) -> tuple[Transcoder, AutoencoderOrigin]:
    """The transcoder in a SAELens folder, and what its config says about it.

    `load_autoencoders` takes such folders too, and gives a context with which `derive` runs them in a model.

    Example:
        transcoder, origin = load_transcoder("transcoders/layer_5")
        output = transcoder.decode(transcoder.encode(inputs), inputs)  # (…, inputs) → (…, outputs)

    Args:
        source: a path.
        device: where the weights go; None means CUDA if available, else the CPU.
        dtype: the weights' floating-point dtype; None leaves it as it is in the file.

    Raises:
        AutoencoderFormatError: it is not a transcoder, is damaged, or its config contradicts its weights.
    """
    transcoder, origin = load_autoencoder(source, device=device, dtype=dtype)
    if not isinstance(transcoder, Transcoder):
        raise AutoencoderFormatError(
            f"{without_secrets(source)} is not a transcoder: its latents reconstruct what they read. Use "
            "load_autoencoder."
        )
    return transcoder, origin
