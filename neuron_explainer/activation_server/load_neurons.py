"""From a dataset's name to a neuron's record: short name to path, and the first dataset that has the neuron."""

import asyncio
import os
from pathlib import Path

from neuron_explainer.activation_server.neuron_datasets import (
    NEURON_DATASET_METADATA_REGISTRY,
    get_neuron_dataset_metadata_by_short_name_and_dst,
)
from neuron_explainer.activations.activations import NeuronRecord, load_neuron
from neuron_explainer.activations.derived_scalars.derived_scalar_types import DerivedScalarType
from neuron_explainer.errors import NeuronNotFoundError, UnknownDatasetError
from neuron_explainer.pydantic import CamelCaseBaseModel, immutable
from neuron_explainer.storage.locations import is_url, shown


@immutable
class NodeIdAndDatasets(CamelCaseBaseModel):
    """A neuron, head or latent, and where to look for it."""

    dst: DerivedScalarType
    layer_index: int
    activation_index: int
    datasets: list[str]
    """Addresses, local folders or short names; the first that has the neuron is used."""


def resolve_neuron_dataset(dataset: str | os.PathLike[str], dst: DerivedScalarType) -> str:
    """The path of a dataset that is named by its address, its short name or its local folder.

    A registered short name goes before a local folder of the same name; `./name` is always the folder.

    Raises:
        UnknownDatasetError: it is no address, no short name with this derived scalar type, and no folder.
        UnsupportedLocationError: it is an address of another kind than http(s).
    """
    if is_url(dataset):
        return os.fspath(dataset)
    is_short_name = any(short_name == dataset for short_name, _ in NEURON_DATASET_METADATA_REGISTRY)
    if not is_short_name and Path(dataset).is_dir():
        return os.fspath(dataset)
    return get_neuron_dataset_metadata_by_short_name_and_dst(os.fspath(dataset), dst).neuron_dataset_path


def convert_dataset_path_to_short_name(dataset_path: str) -> str:
    """The short name of the registered dataset at an address or local folder, with or without a slash at its end.

    Raises:
        UnknownDatasetError: none is registered there.
    """
    short_name_by_path = {
        metadata.neuron_dataset_path.rstrip("/"): metadata.short_name
        for metadata in NEURON_DATASET_METADATA_REGISTRY.values()
    }
    short_name = short_name_by_path.get(dataset_path.rstrip("/"))
    if short_name is None:
        raise UnknownDatasetError(
            "registered neuron dataset at", dataset_path, short_name_by_path, "register_dataset adds one of your own."
        )
    return short_name


async def load_neuron_from_datasets(node_id_and_datasets: NodeIdAndDatasets) -> tuple[str, NeuronRecord]:
    """As `load_neuron_from_first_dataset`; the event loop goes on while it waits."""
    return await asyncio.to_thread(load_neuron_from_first_dataset, node_id_and_datasets)


def load_neuron_from_first_dataset(node_id_and_datasets: NodeIdAndDatasets) -> tuple[str, NeuronRecord]:
    """The path of the first dataset that has the neuron, and its record.

    For trying a dataset that covers some of a model's neurons before one that covers them all. Only a dataset that was
    reached and has no such neuron is passed over: any other failure is raised.

    Raises:
        NeuronNotFoundError: none has it; with `status_code` 404 and `detail`.
        UnknownDatasetError: there is no dataset of this name.
        DownloadError, MalformedRecordError, …: as `load_neuron`, for the first dataset where that happens.
    """
    asked = node_id_and_datasets
    paths = [resolve_neuron_dataset(dataset, asked.dst) for dataset in asked.datasets]
    for path in paths:
        try:
            return path, load_neuron(path, asked.layer_index, asked.activation_index)
        except NeuronNotFoundError:
            continue
    searched = ", ".join(map(shown, paths)) or "no dataset at all"
    raise NeuronNotFoundError(
        f"Could not find {asked.dst.value} {asked.layer_index}:{asked.activation_index} in {searched}"
    )
