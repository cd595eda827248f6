"""Published autoencoders in forms that only SAELens reads: its own loader does, where it is installed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from neuron_explainer.errors import AutoencoderFormatError, NeuronExplainerError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.in_memory import autoencoder_in_memory
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.published.files import PublishedFiles
from neuron_explainer.models.autoencoders.published.stored_form import StoredForm
from neuron_explainer.models.autoencoders.saelens.config import saelens_config


class SaelensLoader(StoredForm):
    """A form that SAELens converts while it loads."""

    def describe(self, files: PublishedFiles) -> AutoencoderOrigin:
        """What SAELens says; it downloads what it needs for that."""
        with _its_errors(files):
            from sae_lens.loading.pretrained_sae_loaders import load_sae_config_from_huggingface

            settings = load_sae_config_from_huggingface(*_release_and_id(files), device="cpu")
        return saelens_config(settings, files.autoencoder.name).origin

    def load(self, files: PublishedFiles, dtype: torch.dtype | None) -> tuple[Autoencoder, AutoencoderOrigin]:
        """See the base class. SAELens gives weights in float32."""
        with _its_errors(files):
            import sae_lens

            loaded: Any = sae_lens.SAE.from_pretrained(*_release_and_id(files), device="cpu")
        return autoencoder_in_memory(loaded)


def _release_and_id(files: PublishedFiles) -> tuple[str, str]:
    autoencoder = files.autoencoder
    return (autoencoder.repo_id if autoencoder.release is None else autoencoder.release.name), autoencoder.sae_id


def _pickles_are_only_weights() -> bool:
    """Whether `torch.load`, which SAELens calls with its defaults, refuses pickles that can run code."""
    is_new = torch.torch_version.TorchVersion(torch.__version__) >= "2.6"
    return is_new and not os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")


@contextmanager
def _its_errors(files: PublishedFiles) -> Iterator[None]:
    """Turn SAELens' errors, of many types, into this library's. Without a connection, it would try for minutes."""
    import huggingface_hub.constants

    name = files.autoencoder.name
    if not _pickles_are_only_weights():
        raise AutoencoderFormatError(
            f"{name} is in a form that SAELens' own loader reads, and with this torch ({torch.__version__}, or with "
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD) that could run code from the file. Use torch 2.6 or newer without it."
        )
    if not huggingface_hub.constants.HF_HUB_OFFLINE and not files.can_be_asked():
        raise files.not_in_cache(f"{name} (or it is: SAELens loads it from there with HF_HUB_OFFLINE=1)")
    try:
        with files.hub_errors(name):
            yield
    except (NeuronExplainerError, MemoryError):
        raise
    except Exception as error:
        raise AutoencoderFormatError(
            f"{name} is in a form that SAELens' own loader reads, and it failed: {type(error).__name__}: {error!s:.300}"
        ) from error
