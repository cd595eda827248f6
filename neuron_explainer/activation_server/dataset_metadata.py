"""One entry of the registry of neuron datasets."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from neuron_explainer.errors import MissingFileError
from neuron_explainer.storage.local import is_local_file, is_local_folder
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.vocabulary.checks import checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of


@dataclass(frozen=True, repr=False)
class NeuronDatasetMetadata:
    """One neuron dataset.

    Attributes:
        short_name: its name in notebooks. Datasets of one model with different derived scalar types may share it.
        derived_scalar_type: the type of its activations, or the type's name.
        user_visible_name: a title for people.
        neuron_dataset_path: an http(s) address or a local folder, with or without a slash at its end.
        n_layers: how many layers it has; None: it is read from the dataset when needed.
        n_components: how many neurons, heads or latents each layer has; None: as for n_layers.
        explanations_path: the address or folder of explanations of its components; None if unknown.

    Raises:
        UnknownNameError: the derived scalar type is unknown.
        InvalidRequestError: a name or the path is not a text.
    """

    short_name: str
    derived_scalar_type: DerivedScalarType
    user_visible_name: str
    neuron_dataset_path: str
    n_layers: int | None = None
    n_components: int | None = None
    explanations_path: str | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            short_name: str,
            derived_scalar_type: DerivedScalarType | str,
            user_visible_name: str,
            neuron_dataset_path: str,
            n_layers: int | None = None,
            n_components: int | None = None,
            explanations_path: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("short_name", "user_visible_name", "neuron_dataset_path"):
            checked_type(name, getattr(self, name), str)
        if self.explanations_path is not None:
            checked_type("explanations_path", self.explanations_path, str)
        object.__setattr__(self, "derived_scalar_type", derived_scalar_type_of(self.derived_scalar_type))

    def __repr__(self) -> str:  # without the credentials that an address may contain
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("neuron_dataset_path", "explanations_path"):
            values[name] = values[name] and without_secrets(values[name])
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    @property
    def key(self) -> tuple[str, DerivedScalarType]:
        """Its key in the registry."""
        return self.short_name, self.derived_scalar_type

    @property
    def layout(self) -> str:
        """ "packed", or "json" for one file per neuron."""
        return "packed" if self._is_packed() else "json"

    def size(self) -> tuple[int | None, int | None]:
        """The number of layers, and of components per layer; None if unknown.

        Raises:
            MissingFileError, MalformedDatasetError: the packed dataset at the path cannot be read.
        """
        if None in (self.n_layers, self.n_components) and self._is_packed():
            from neuron_explainer.activations.packed.dataset import open_packed_dataset

            info = open_packed_dataset(self.neuron_dataset_path).info
            return info.n_layers, info.n_components
        return self.n_layers, self.n_components

    def check_readable(self) -> None:
        """Check that a local folder is there, and that what describes a packed dataset in it can be read.

        Raises:
            MissingFileError, UnreadableFileError, MalformedDatasetError: it is not so.
        """
        from neuron_explainer.activations.packed.dataset import open_packed_dataset
        from neuron_explainer.activations.packed.layout import INFO_FILE_NAME

        path = self.neuron_dataset_path
        if "://" in path:
            return
        if not is_local_folder(path):
            raise MissingFileError(path, "the folder does not exist")
        if os.path.lexists(Path(path) / INFO_FILE_NAME):
            open_packed_dataset(path)

    def _is_packed(self) -> bool:
        from neuron_explainer.activations.packed.layout import INFO_FILE_NAME

        path = self.neuron_dataset_path
        return "://" not in path and is_local_file(Path(path) / INFO_FILE_NAME)
