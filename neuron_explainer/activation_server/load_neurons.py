"""Load a neuron from the first of several datasets that has it."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict

from neuron_explainer.activation_server.dataset_paths import (
    convert_dataset_path_to_short_name,
    resolve_neuron_dataset,
)
from neuron_explainer.activations.activations import NeuronRecord, load_neuron
from neuron_explainer.errors import NeuronNotFoundError
from neuron_explainer.pydantic import CamelCaseBaseModel, immutable
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

__all__ = [
    "NodeIdAndDatasets",
    "convert_dataset_path_to_short_name",
    "load_neuron_from_datasets",
    "load_neuron_from_first_dataset",
    "resolve_neuron_dataset",
]


def _plain_int(value: object) -> object:
    """NumPy and torch integers as an int; anything else unchanged, for pydantic to judge."""
    number = whole_number(value)
    return value if number is None else number


_WholeNumber = Annotated[int, BeforeValidator(_plain_int)]


@immutable
class NodeIdAndDatasets(CamelCaseBaseModel):
    """A neuron, head or latent, and the datasets to look for it in.

    Attributes:
        dst: the derived scalar type of the activations, or its name.
        layer_index: the layer, from 0.
        activation_index: the neuron, head or latent in the layer, from 0.
        datasets: addresses, local folders or short names; the first that has the neuron is used.

    Raises:
        pydantic.ValidationError: a field is missing or of the wrong type.
        UnknownNameError: the derived scalar type is unknown.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # addresses may contain credentials

    dst: Annotated[DerivedScalarType, BeforeValidator(derived_scalar_type_of)]
    layer_index: _WholeNumber
    activation_index: _WholeNumber
    datasets: list[str]

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        """What `repr` shows: addresses without credentials."""
        for name, value in super().__repr_args__():
            yield str(name), [without_secrets(dataset) for dataset in self.datasets] if name == "datasets" else value


async def load_neuron_from_datasets(node_id_and_datasets: NodeIdAndDatasets) -> tuple[str, NeuronRecord]:
    """Load as `load_neuron_from_first_dataset` does, in a thread, so that the event loop keeps running.

    >>> node = NodeIdAndDatasets(dst="mlp_post_act", layer_index=2, activation_index=5, datasets=["tiny"])
    >>> asyncio.run(load_neuron_from_datasets(node))[1].neuron_id  # in a notebook: `await load_neuron_…`
    NeuronId(layer_index=2, neuron_index=5)
    """
    return await asyncio.to_thread(load_neuron_from_first_dataset, node_id_and_datasets)


def load_neuron_from_first_dataset(node_id_and_datasets: NodeIdAndDatasets) -> tuple[str, NeuronRecord]:
    """Load a neuron from the first dataset that has it.

    This lets a dataset that covers some of a model's neurons come before one that covers them all. A dataset is skipped
    only if it could be read and lacks the neuron; any other failure is raised.

    Returns:
        The path of the dataset, and the record.

    Raises:
        NeuronNotFoundError: no dataset has the neuron; with `status_code` 404 and `detail`.
        UnknownDatasetError: a dataset's name is unknown.
        DownloadError, MalformedRecordError, …: as `load_neuron`, for the first dataset that fails.
    """
    asked = node_id_and_datasets
    paths = [resolve_neuron_dataset(dataset, asked.dst) for dataset in asked.datasets]
    for path in paths:
        try:
            return path, load_neuron(path, asked.layer_index, asked.activation_index)
        except NeuronNotFoundError:
            continue
    searched = ", ".join(map(without_secrets, asked.datasets)) or "an empty list of datasets"
    raise NeuronNotFoundError(
        f"Could not find {asked.dst.value} {asked.layer_index}:{asked.activation_index} in {searched}"
    )
