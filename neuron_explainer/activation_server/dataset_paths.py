"""From a dataset's name to its path, and back."""

import os
from pathlib import Path

from neuron_explainer.activation_server.neuron_datasets import (
    NEURON_DATASET_METADATA_REGISTRY,
    NeuronDatasetMetadata,
    get_neuron_dataset_metadata_by_short_name_and_dst,
)
from neuron_explainer.errors import InvalidRequestError, UnknownDatasetError
from neuron_explainer.storage.locations import is_url
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType


def resolve_neuron_dataset(dataset: str | os.PathLike[str], dst: DerivedScalarType) -> str:
    """The path of a dataset that is named by its address, its short name or its local folder.

    A registered short name goes before a local folder of the same name; `./name` is always the folder.

    Raises:
        UnknownDatasetError: it is no address, no short name with this derived scalar type, and no folder.
        UnsupportedLocationError: it is an address of another kind than http(s).
    """
    if _is_path(dataset):
        return os.fspath(dataset)
    return _registered(dataset, dst).neuron_dataset_path


def explanations_path(dataset: str | os.PathLike[str], dst: DerivedScalarType) -> str:
    """Where the explanations of a registered dataset's components are; an address or a local folder is itself where.

    Raises:
        UnknownDatasetError: it is no address, no short name with this derived scalar type, and no folder.
        InvalidRequestError: the registry knows of no explanations for the dataset.
    """
    if _is_path(dataset):
        return os.fspath(dataset)
    path = _registered(dataset, dst).explanations_path
    if path is None:
        known = [f"{each.short_name} ({each.derived_scalar_type.value})" for each in _with_explanations()]
        raise InvalidRequestError(
            f"No explanations of {dataset} ({dst.value}) are known. There are some of: {', '.join(known)}."
        )
    return path


def _with_explanations() -> list[NeuronDatasetMetadata]:
    return [each for each in NEURON_DATASET_METADATA_REGISTRY.values() if each.explanations_path is not None]


def _is_path(dataset: str | os.PathLike[str]) -> bool:
    if is_url(dataset):
        return True
    is_short_name = any(short_name == dataset for short_name, _ in NEURON_DATASET_METADATA_REGISTRY)
    return not is_short_name and dataset != "" and Path(dataset).is_dir()


def _registered(dataset: str | os.PathLike[str], dst: DerivedScalarType) -> NeuronDatasetMetadata:
    """The registered dataset of what `_is_path` found to be no path."""
    name = os.fspath(dataset)
    try:
        return get_neuron_dataset_metadata_by_short_name_and_dst(name, dst)
    except UnknownDatasetError as error:
        if os.path.basename(name) == name:
            raise
        # it looks like a path: that nothing is there comes before what else there is
        raise UnknownDatasetError("folder or neuron dataset", error.asked, error.choices) from None


def convert_dataset_path_to_short_name(dataset_path: str | os.PathLike[str]) -> str:
    """The short name of the registered dataset at an address or local folder, with or without a slash at its end.

    Raises:
        UnknownDatasetError: none is registered there.
    """
    short_name_by_path = {
        metadata.neuron_dataset_path.rstrip("/"): metadata.short_name
        for metadata in NEURON_DATASET_METADATA_REGISTRY.values()
    }
    path = os.fspath(dataset_path)
    short_name = short_name_by_path.get(path.rstrip("/"))
    if short_name is None:
        raise UnknownDatasetError(
            "registered neuron dataset at", path, short_name_by_path, "register_dataset adds one of your own."
        )
    return short_name
