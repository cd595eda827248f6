"""From a dataset's name to a neuron's record: short name to path, and the first dataset that has the neuron."""

import asyncio

from neuron_explainer.activation_server.dataset_paths import (
    convert_dataset_path_to_short_name,
    resolve_neuron_dataset,
)
from neuron_explainer.activations.activations import NeuronRecord, load_neuron
from neuron_explainer.errors import NeuronNotFoundError
from neuron_explainer.pydantic import CamelCaseBaseModel, immutable
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

__all__ = [
    "NodeIdAndDatasets",
    "convert_dataset_path_to_short_name",
    "load_neuron_from_datasets",
    "load_neuron_from_first_dataset",
    "resolve_neuron_dataset",
]


@immutable
class NodeIdAndDatasets(CamelCaseBaseModel):
    """A neuron, head or latent, and where to look for it."""

    dst: DerivedScalarType
    layer_index: int
    activation_index: int
    datasets: list[str]
    """Addresses, local folders or short names; the first that has the neuron is used."""


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
    searched = ", ".join(map(without_secrets, paths)) or "no dataset at all"
    raise NeuronNotFoundError(
        f"Could not find {asked.dst.value} {asked.layer_index}:{asked.activation_index} in {searched}"
    )
