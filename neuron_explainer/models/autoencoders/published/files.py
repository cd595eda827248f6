"""The files of a published autoencoder, downloaded one by one into the hub's cache."""

from pathlib import Path

from neuron_explainer.errors import AutoencoderFormatError, UnknownNameError
from neuron_explainer.models.autoencoders.published.locating import Published
from neuron_explainer.models.autoencoders.published.release_table import releases
from neuron_explainer.models.checkpoints.hub import HubModel
from neuron_explainer.models.hub.cache import cached_sentence


class PublishedFiles(HubModel):
    """The files in the folder of a published autoencoder; all of one commit."""

    def __init__(self, autoencoder: Published) -> None:
        super().__init__(autoencoder.repo_id, main_file=None)
        self.autoencoder = autoencoder

    def in_folder(self, name: str) -> Path | None:
        """The path of a file in the autoencoder's folder; None if there is none, or if that cannot be found out."""
        return self.find(f"{self.autoencoder.folder}/{name}".lstrip("/"))

    def required(self, name: str) -> Path:
        """The path of a file in the autoencoder's folder.

        Raises:
            AutoencoderFormatError: there is none.
            CheckpointNotFoundError: the hub cannot be reached, and the cache does not have it.
        """
        file = self.in_folder(name)
        if file is not None:
            return file
        if not self.can_be_asked():
            raise self.not_in_cache(f"{self.autoencoder.folder}/{name}")
        raise AutoencoderFormatError(
            f"{self.autoencoder.name}: the folder {self.autoencoder.folder!r} of {self.autoencoder.repo_id} on the hub "
            f"has no {name}. {self.describe_weights()}"
        )

    def what_is_cached(self) -> str:
        """See the base class."""
        return cached_sentence(self.autoencoder.repo_id, "repositories", "**/*")

    def unknown(self) -> UnknownNameError:
        """See the base class."""
        repositories = dict.fromkeys(release.repo_id for release in releases().values())
        hint = "If it is private, log in to the hub. For a local folder, give its path."
        return UnknownNameError("repository on the Hugging Face hub", self.autoencoder.repo_id, repositories, hint)
