"""Autoencoders as SAELens saves them: a folder with `cfg.json` and `sae_weights.safetensors`.

Every setting that changes the results is either applied, and listed in `Autoencoder.applied`, or refused.
"""

import os

import torch

from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.autoencoder_format import AutoencoderFormat
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.saelens.architectures import build_autoencoder
from neuron_explainer.models.autoencoders.saelens.config import CONFIG_FILE, read_saelens_config
from neuron_explainer.models.autoencoders.saelens.weights import read_saelens_weights


class SaelensFolder(AutoencoderFormat):
    """A folder that SAELens saved, of any version; it says its place, layer, base model and width."""

    name = "SAELens folder"

    def matches(self, source: str) -> bool:
        """A folder with a `cfg.json`."""
        return os.path.isfile(os.path.join(source, CONFIG_FILE))

    def load(
        self, source: str, device: torch.device | str, dtype: torch.dtype | None
    ) -> tuple[Autoencoder, AutoencoderOrigin]:
        """See the base class.

        Raises:
            AutoencoderFormatError: a file is missing or damaged, or the config contradicts the weights or needs a file
                that is missing.
        """
        return load_saelens_autoencoder(source, device, dtype)

    def describe(self, source: str) -> AutoencoderOrigin:
        """What `cfg.json` says."""
        return read_saelens_config(source).origin


def load_saelens_autoencoder(
    folder: str | os.PathLike[str], device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Autoencoder, AutoencoderOrigin]:
    """The autoencoder in a SAELens folder, and what its config says about it.

    Raises:
        AutoencoderFormatError: see `SaelensFolder.load`.
    """
    config = read_saelens_config(folder)
    return build_autoencoder(config, read_saelens_weights(config)).to(device, dtype), config.origin
