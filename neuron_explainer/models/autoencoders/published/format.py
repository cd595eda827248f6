"""Published autoencoders as a format: which form each is in."""

from typing import TYPE_CHECKING

import torch

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.autoencoder_format import AutoencoderFormat
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.published.locating import is_published_name, published

if TYPE_CHECKING:
    from neuron_explainer.models.autoencoders.published.files import PublishedFiles
    from neuron_explainer.models.autoencoders.published.stored_form import StoredForm


class PublishedAutoencoder(AutoencoderFormat):
    """An autoencoder on the hub, "release#id" or "owner/repository#folder"."""

    name = "autoencoder on the hub (a release or owner/repository, with sae_id)"

    def matches(self, source: str) -> bool:
        """Whether the text has such a form. Whether the hub has the autoencoder is not asked."""
        return is_published_name(source)

    def load(
        self, source: str, device: torch.device | str, dtype: torch.dtype | None
    ) -> tuple[Autoencoder, AutoencoderOrigin]:
        """See the base class.

        Raises:
            UnknownNameError: the release, its id or the repository does not exist.
            CheckpointNotFoundError: the hub cannot be reached, and the cache does not have a file.
            DownloadError: a download failed.
        """
        form, files = _opened(source)
        autoencoder, origin = form.load(files, dtype)
        return autoencoder.to(device, dtype), origin

    def describe(self, source: str) -> AutoencoderOrigin:
        """What its config says, which is downloaded; for Gemma Scope, what its name says."""
        form, files = _opened(source)
        return form.describe(files)


def _opened(name: str) -> "tuple[StoredForm, PublishedFiles]":
    """The form that an autoencoder is in, and its files.

    Raises:
        AutoencoderFormatError: its repository is in none of the forms.
    """
    # Imported here: the hub's client takes a while, and most autoencoders that are loaded are on this machine.
    from neuron_explainer.models.autoencoders.published.files import PublishedFiles
    from neuron_explainer.models.autoencoders.published.gemma_scope import GemmaScopeForm, is_of_gemma_scope
    from neuron_explainer.models.autoencoders.published.llama_scope import SETTINGS_FILE, LlamaScopeForm
    from neuron_explainer.models.autoencoders.published.saelens_loader import SaelensLoader
    from neuron_explainer.models.autoencoders.published.stored_form import SaelensForm
    from neuron_explainer.models.autoencoders.saelens.config import CONFIG_FILE

    autoencoder = published(name)
    files = PublishedFiles(autoencoder)
    if is_of_gemma_scope(autoencoder.repo_id):
        return GemmaScopeForm(), files
    if autoencoder.release is not None:
        forms: dict[str | None, type[StoredForm]] = {None: SaelensForm, "llama_scope": LlamaScopeForm}
        return forms.get(autoencoder.release.conversion, SaelensLoader)(), files
    for file, form in ((CONFIG_FILE, SaelensForm), (SETTINGS_FILE, LlamaScopeForm)):
        if files.in_folder(file) is not None:
            return form(), files
    if not files.can_be_asked():
        raise files.not_in_cache(f"{autoencoder.folder}/{CONFIG_FILE}")
    raise AutoencoderFormatError(
        f"{name}: the folder {autoencoder.folder!r} of {autoencoder.repo_id} on the hub has neither {CONFIG_FILE} (of "
        f"SAELens) nor {SETTINGS_FILE} (of Llama Scope). {files.describe_weights()} SAELens' own loader reads more "
        "forms: it is used for the releases in its table, where it is installed (pip install sae-lens)."
    )
