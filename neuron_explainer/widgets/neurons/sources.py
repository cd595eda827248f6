"""Where a viewer's records come from: registered datasets, an address, a folder, or a model."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from neuron_explainer.activation_server.dataset_paths import dataset_text, explanations_path
from neuron_explainer.activation_server.neuron_datasets import (
    EMBEDDED_SHORT_NAME,
    NeuronDatasetMetadata,
    dataset_among,
    get_all_neuron_dataset_metadata,
)
from neuron_explainer.activations.activations import load_neuron
from neuron_explainer.activations.dataset_types import type_of_folder
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.components.statistics.living import living_components
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.storage.locations import is_url
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice
from neuron_explainer.widgets.neurons.live_model import LiveModel

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component


_TYPES_TOLD: dict[str, DerivedScalarType] = {}
"""The types of datasets that are not registered, as a person said them to any source."""


class RecordSource(Protocol):
    """What a viewer needs from a source of records."""

    def first_choice(self) -> tuple[str, DerivedScalarType]:
        """The dataset and the derived scalar type to show first."""
        ...

    def datasets(self) -> list[str]:
        """The names of the datasets to choose from."""
        ...

    def types(self, dataset: str) -> list[DerivedScalarType]:
        """The derived scalar types of a dataset's activations."""
        ...

    def size(self, dataset: str, dst: DerivedScalarType) -> DatasetSize:
        """The size of a dataset."""
        ...

    def include(
        self, dataset: str | os.PathLike[str], dst: DerivedScalarType | None = None
    ) -> tuple[str, DerivedScalarType]:
        """The name and the first type of a dataset, which `datasets` has from now on; it may raise any error."""
        ...

    def living(self, dataset: str, dst: DerivedScalarType, layer: int) -> Sequence[int] | None:
        """The components of a layer that are ever above 0, ascending; None if that is unknown."""
        ...

    def load(self, choice: NeuronChoice) -> NeuronRecord:
        """Load or compute the record of a choice. It may take long, and may raise any error."""
        ...

    def computes_texts(self, dataset: str) -> bool:
        """Whether `live_model` can compute activations on the user's texts."""
        ...

    def live_model(self) -> LiveModel:
        """The model for the user's texts; loaded on first use."""
        ...

    def component(self, choice: NeuronChoice) -> "Component":
        """The component of a choice, with all that is at hand. It may take long, and may raise any error."""
        ...

    def given_model(self) -> LiveModel | None:
        """The model that was given; None without one."""
        ...

    @property
    def is_of_model(self) -> bool:
        """Whether it is a model, not a dataset."""
        ...


class DatasetSource:
    """The registered datasets, and one more by its address or folder.

    Args:
        dataset: a registered short name, an http(s) address or a folder.
        dst: the derived scalar type to show first, or its name; None: the dataset's first.
        load: the function that loads a record; None: `load_neuron`.
        live: the model of the datasets; None if there is none at hand.
        explanations: the name, address or folder of published explanations; None: those of the dataset.
        prepend_bos: as for `live_record`, for the embedded model; `live` has its own.

    Raises:
        UnknownDatasetError: the dataset is unknown, or lacks the derived scalar type.
        UnknownNameError: the derived scalar type is unknown.
        InvalidRequestError: `dst` is None, and an address or a folder of JSON files does not say its type.
    """

    def __init__(
        self,
        dataset: str | os.PathLike[str],
        dst: DerivedScalarType | str | None,
        load: Callable[[NeuronChoice], NeuronRecord] | None = None,
        live: LiveModel | None = None,
        explanations: str | os.PathLike[str] | None = None,
        prepend_bos: bool | None = None,
    ) -> None:
        self._metadata = get_all_neuron_dataset_metadata()
        self._load = load if load is not None else self._load_recorded
        self._live = live
        self._embedded = LiveModel(EMBEDDED_SHORT_NAME, prepend_bos=prepend_bos)
        self._explanations = explanations
        name = dataset_text(dataset)
        if all(metadata.short_name != name for metadata in self._metadata) and ("/" in name or os.path.isdir(name)):
            self._metadata.append(_unregistered(name, dst))
        types = self.types(name)
        first_type = derived_scalar_type_of(dst) if dst is not None else types[0] if types else None
        self._first = self._find(name, first_type or DerivedScalarType.MLP_POST_ACT).key
        if explanations is not None:
            explanations_path(explanations, self._first[1])  # refuses what is not there

    def first_choice(self) -> tuple[str, DerivedScalarType]:
        """The dataset and the derived scalar type that the constructor was given."""
        return self._first

    def datasets(self) -> list[str]:
        """The short names, in order of registration."""
        return list(dict.fromkeys(metadata.short_name for metadata in self._metadata))

    def types(self, dataset: str) -> list[DerivedScalarType]:
        """The derived scalar types registered under a short name."""
        return [metadata.derived_scalar_type for metadata in self._metadata if metadata.short_name == dataset]

    def size(self, dataset: str, dst: DerivedScalarType) -> DatasetSize:
        """The size in the registry or the packed dataset; unknown if unreadable (`load` raises the reason)."""
        metadata = self._find(dataset, dst)
        try:
            n_layers, n_components = metadata.size()
            if metadata.layout == "packed":
                from neuron_explainer.activations.packed.dataset import open_packed_dataset

                layers = open_packed_dataset(metadata.neuron_dataset_path).info.layer_indices
                return DatasetSize(sorted(layers), n_components)
            if n_layers is None and not is_url(metadata.neuron_dataset_path):
                return DatasetSize(_layer_folders(metadata.neuron_dataset_path), n_components)
        except (NeuronExplainerError, OSError):
            return DatasetSize(None, None)
        return DatasetSize(None if n_layers is None else range(n_layers), n_components)

    def include(
        self, dataset: str | os.PathLike[str], dst: DerivedScalarType | None = None
    ) -> tuple[str, DerivedScalarType]:
        """The name and the first type of a dataset, which is added if it was registered later, or is not registered.

        Args:
            dataset: a registered short name, an http(s) address or a folder.
            dst: for an address or a folder of JSON files, the type of its records. It is remembered: another source
                need not be told.

        Raises:
            UnknownDatasetError: the dataset is unknown.
            InvalidRequestError: `dst` is None, and an address or a folder of JSON files does not say its type.
        """
        name = dataset_text(dataset)
        known = {metadata.key for metadata in self._metadata}
        self._metadata += [each for each in get_all_neuron_dataset_metadata() if each.key not in known]
        if not self.types(name) and ("/" in name or os.path.isdir(name)):
            told = dst or _TYPES_TOLD.get(name)
            if told is None and (is_url(name) or not os.path.lexists(os.path.join(name, "dataset.json"))):
                told = type_of_folder(name, "Write it behind, with a space between, such as mlp_post_act.")
            self._metadata.append(_unregistered(name, told))
            _TYPES_TOLD.update({name: dst} if dst is not None else {})
        types = self.types(name)
        return self._find(name, types[0] if types else DerivedScalarType.MLP_POST_ACT).key

    def living(self, dataset: str, dst: DerivedScalarType, layer: int) -> Sequence[int] | None:
        """The components of a layer that are ever above 0, if the dataset is packed; None if it cannot be read."""
        try:
            found = living_components(self._find(dataset, dst).neuron_dataset_path, layer)
        except (NeuronExplainerError, OSError):
            return None  # `load` raises the reason
        return None if found is None else found.tolist()

    def load(self, choice: NeuronChoice) -> NeuronRecord:
        """Load the record of a choice from its dataset."""
        return self._load(choice)

    def computes_texts(self, dataset: str) -> bool:
        """Whether a model is at hand: one that was given, or that of the embedded dataset."""
        return self._live is not None or dataset == EMBEDDED_SHORT_NAME

    def live_model(self) -> LiveModel:
        """The model that was given; else the embedded one."""
        return self._embedded if self._live is None else self._live

    def component(self, choice: NeuronChoice) -> "Component":
        """The component of a choice."""
        from neuron_explainer.components.asking import component

        return component(
            choice.dataset,
            f"{choice.layer}:{choice.neuron}",
            dst=choice.dst,
            model=None if self._live is None else self._live.config(),
            explanations=self._explanations,
            prepend_bos=self.live_model().prepend_bos,
        )

    def given_model(self) -> LiveModel | None:
        """The model that was given beside the dataset; None without one."""
        return self._live

    @property
    def is_of_model(self) -> bool:
        """Always False."""
        return False

    def _load_recorded(self, choice: NeuronChoice) -> NeuronRecord:
        path = self._find(choice.dataset, choice.dst).neuron_dataset_path
        return load_neuron(path, choice.layer, choice.neuron)

    def _find(self, dataset: str, dst: DerivedScalarType) -> NeuronDatasetMetadata:
        return dataset_among(self._metadata, dataset, dst)


def _layer_folders(path: str) -> list[int] | None:
    """The layers of a folder of JSON files, ascending; None if they cannot be told."""
    names = [entry.name for entry in os.scandir(path) if entry.is_dir()]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 8) or None


def _unregistered(path: str, dst: DerivedScalarType | str | None) -> NeuronDatasetMetadata:
    """A registry entry, for one viewer only, for an address or a folder."""
    from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset

    if not is_url(path) and is_packed_dataset(path):
        info = open_packed_dataset(path).info
        return NeuronDatasetMetadata(
            path, derived_scalar_type_of(info.derived_scalar_type), info.user_visible_name, path
        )
    said = type_of_folder(path, "Pass it: NeuronViewer(…, dst=…).") if dst is None else derived_scalar_type_of(dst)
    return NeuronDatasetMetadata(path, said, path, path)
