"""The base class of the forms in which published autoencoders are stored, and SAELens' own form."""

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import torch

from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.published.files import PublishedFiles
from neuron_explainer.models.autoencoders.saelens.architectures import build_autoencoder
from neuron_explainer.models.autoencoders.saelens.config import (
    CONFIG_FILE,
    SaelensConfig,
    read_settings,
    saelens_config,
)
from neuron_explainer.models.autoencoders.saelens.folding import SCALER_FILE, WHITENING_FILE
from neuron_explainer.models.autoencoders.saelens.weights import WEIGHTS_FILE, read_saelens_weights

CENTRED = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
OF_CENTRED_MODELS = (
    "jbloom/GPT2-Small-SAEs-Reformatted",
    "jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8",
    "tommmcgrath/gpt2-small-mlp-out-saes",
)
"""Repositories whose `cfg.json` do not say that the model's writing weights had been centred. SAELens' table does."""


class StoredForm(ABC):
    """One way in which published autoencoders are stored. Instances hold no state."""

    @abstractmethod
    def describe(self, files: PublishedFiles) -> AutoencoderOrigin:
        """What is known about the autoencoder; at most a small file is downloaded.

        Raises:
            AutoencoderFormatError: a file is missing or malformed, or a setting is not supported.
        """

    @abstractmethod
    def load(self, files: PublishedFiles, dtype: torch.dtype | None) -> tuple[Autoencoder, AutoencoderOrigin]:
        """The autoencoder, and what is known about it.

        Args:
            files: where its files are.
            dtype: the dtype that is wanted in the end; None: the files'.

        Raises:
            AutoencoderFormatError: a file is missing or malformed, or a setting is not supported.
        """


class SaelensForm(StoredForm):
    """A folder that SAELens saved."""

    def describe(self, files: PublishedFiles) -> AutoencoderOrigin:
        """What `cfg.json` and SAELens' table say."""
        return self._config(files).origin

    def load(self, files: PublishedFiles, dtype: torch.dtype | None) -> tuple[Autoencoder, AutoencoderOrigin]:
        """See the base class."""
        config = self._config(files)
        files.required(WEIGHTS_FILE)
        if config.input_normalization == "covariance_whitening":
            files.required(WHITENING_FILE)
        elif config.input_normalization == "expected_average_only_in" and config.input_scale is None:
            files.in_folder(SCALER_FILE)  # whether it is there is checked where it is read
        return build_autoencoder(config, read_saelens_weights(config)), config.origin

    def _config(self, files: PublishedFiles) -> SaelensConfig:
        autoencoder, release = files.autoencoder, files.autoencoder.release
        path: Path = files.required(CONFIG_FILE)
        settings = read_settings(path)
        added = dict(release.settings) if release is not None else {}
        if autoencoder.repo_id in OF_CENTRED_MODELS:
            added = CENTRED | added
        metadata = settings.get("metadata")
        known = saelens_config(
            {**settings, **added, **({"metadata": metadata | added} if isinstance(metadata, dict) else {})},
            autoencoder.name,
            path.parent,
        )
        return replace(known, input_scale=None if release is None else release.scale_by_id.get(autoencoder.sae_id))
