"""The base class of autoencoder formats: how a file or folder is recognised, described and loaded."""

from abc import ABC, abstractmethod

import torch

from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin


class AutoencoderFormat(ABC):
    """One way in which an autoencoder is stored. Instances hold no state. A source is a path or an address.

    Attributes:
        name: what errors call it, such as "SAELens folder".
    """

    name: str

    @abstractmethod
    def matches(self, source: str) -> bool:
        """Whether the source looks like this format. Cheap: no weights are read, nothing is downloaded."""

    @abstractmethod
    def load(
        self, source: str, device: torch.device | str, dtype: torch.dtype | None
    ) -> tuple[Autoencoder, AutoencoderOrigin]:
        """The autoencoder, and what its file says about it.

        Args:
            source: a path or an address.
            device: where the weights go.
            dtype: the weights' floating-point dtype; None leaves it as it is in the file.

        Raises:
            MissingFileError: the source does not exist.
            AutoencoderFormatError: it is not a valid autoencoder of this format.
        """

    def describe(self, source: str) -> AutoencoderOrigin:
        """What the file says about its autoencoder, without reading weights or downloading anything.

        Formats that store nothing beside the weights keep this default: nothing is known.

        Raises:
            AutoencoderFormatError: the description is missing or malformed.
        """
        return AutoencoderOrigin()
