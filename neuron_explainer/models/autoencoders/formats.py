"""The autoencoder formats that can be loaded, and how to add one.

`docs/adding_a_loader.md` has a complete example.
"""

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.autoencoder_format import AutoencoderFormat
from neuron_explainer.models.autoencoders.openai_files import OpenAIFile
from neuron_explainer.models.autoencoders.published.format import PublishedAutoencoder
from neuron_explainer.models.autoencoders.saelens.folder import SaelensFolder
from neuron_explainer.models.format_registry import add_format
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.vocabulary.checks import checked_type

AUTOENCODER_FORMATS: list[AutoencoderFormat] = [SaelensFolder(), PublishedAutoencoder(), OpenAIFile()]
"""The formats, in the order in which they are asked."""


def register_autoencoder_format(autoencoder_format: AutoencoderFormat, *, replace: bool = False) -> None:
    """Let autoencoders be loaded from another format. It is asked before the formats registered earlier.

    Args:
        autoencoder_format: the format; `docs/adding_a_loader.md` shows how to write one.
        replace: take the place of a format of the same name.

    Raises:
        InvalidRequestError: a format of this name exists and `replace` is not set, or `autoencoder_format` is not an
            instance of `AutoencoderFormat`.
    """
    checked_type("autoencoder_format", autoencoder_format, AutoencoderFormat)  # type: ignore[type-abstract]  # it only asks isinstance
    add_format(AUTOENCODER_FORMATS, autoencoder_format, replace=replace)


def format_names() -> str:
    """The names of all formats, for errors."""
    return ", ".join(each.name for each in AUTOENCODER_FORMATS)


def find_autoencoder_format(source: str) -> AutoencoderFormat | None:
    """The first format that matches a path or address; None if no format does."""
    return next((each for each in AUTOENCODER_FORMATS if each.matches(source)), None)


def autoencoder_format_of(source: str) -> AutoencoderFormat:
    """The first format that matches a path or address.

    Raises:
        AutoencoderFormatError: no format matches; the error lists the formats.
    """
    found = find_autoencoder_format(source)
    if found is None:
        raise AutoencoderFormatError(
            f"{without_secrets(source)!r} is not in an autoencoder format that this library reads: {format_names()}."
        )
    return found
