"""Neuron records, and functions that read and write them by the path of their dataset.

A dataset is an http(s) address or a local folder. It has one JSON file per neuron, `{layer}/{index}.json`, or, in a
local folder, the packed layout (see `packed.layout`). Reading detects which.

`neuron_explainer.load_neuron` also takes the short names of registered datasets.
"""

import os
from functools import partial
from pathlib import Path
from typing import SupportsIndex

from neuron_explainer.activations.neuron_ids import checked_index
from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.activations.record_json import record_from_json, record_to_json, warn_of_another
from neuron_explainer.activations.records import (
    ActivationRecord,
    ActivationRecordSliceParams,
    ExampleKind,
    Histogram,
    NeuronId,
    NeuronRecord,
)
from neuron_explainer.errors import InvalidRequestError, MissingFileError, NeuronNotFoundError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.http_settings import DEFAULT_SETTINGS, HttpSettings
from neuron_explainer.storage.local import is_local_folder
from neuron_explainer.storage.locations import is_url, joined, without_secrets
from neuron_explainer.storage.reading import MOST_RECORD_BYTES, exists, read_decoded
from neuron_explainer.vocabulary.checks import checked_type

__all__ = [
    "ActivationRecord",
    "ActivationRecordSliceParams",
    "ExampleKind",
    "Histogram",
    "NeuronId",
    "NeuronRecord",
    "load_neuron",
    "load_neuron_async",
    "neuron_exists",
    "save_neuron",
]


def load_neuron(
    dataset_path: str | os.PathLike[str],
    layer_index: SupportsIndex | str,
    neuron_index: SupportsIndex | str,
    *,
    use_cache: bool = True,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> NeuronRecord:
    """Load the record of one neuron, attention head or latent from the dataset at a path.

    `neuron_explainer.load_neuron` does the same by a registered short name.

    Args:
        dataset_path: an http(s) address or a local folder.
        layer_index: the layer, from 0: an int, a NumPy or torch integer, or digits as text.
        neuron_index: the neuron, head or latent in the layer, from 0; the same types.
        use_cache: whether downloads are read from and kept in the disk cache.
        revalidate: ask the server whether the cached file is up to date.
        settings: time-outs and retries.

    Raises:
        NeuronNotFoundError: the dataset has no such neuron.
        MissingFileError: the folder does not exist.
        MalformedRecordError: the file is not a valid record.
        MalformedDatasetError: a file of a packed dataset is invalid.
        DownloadError: the address could not be read.
        TooLargeError: the file is larger than records may be.
        UnsupportedLocationError: the path is neither an http(s) address nor a local path.
        InvalidRequestError: an index is negative or not a whole number.

    Warns:
        UnexpectedContentWarning: the file is of another neuron, or has a misspelt field.

    >>> from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
    >>> load_neuron(resolve_neuron_dataset("tiny", "attn_write_norm"), 0, 1)
    <NeuronRecord 0:1: 20 top, 15 random, 3 quantile examples by token pair, max 4.031>
    """
    layer, neuron = _indices(layer_index, neuron_index)
    if _is_packed(dataset_path):
        return open_packed_dataset(dataset_path).record(layer, neuron)
    location = record_location(dataset_path, layer, neuron)
    try:
        record = read_decoded(
            location,
            partial(record_from_json, source=without_secrets(location)),
            most_bytes=MOST_RECORD_BYTES,
            use_cache=use_cache,
            revalidate=revalidate,
            settings=settings,
        )
    except MissingFileError as error:
        raise NeuronNotFoundError(
            f"The dataset {without_secrets(dataset_path)} has no neuron {neuron} in layer {layer}: {error}."
        ) from None
    warn_of_another(record.neuron_id, NeuronId(layer, neuron), without_secrets(location))
    return record


async def load_neuron_async(
    dataset_path: str | os.PathLike[str],
    layer_index: SupportsIndex | str,
    neuron_index: SupportsIndex | str,
    *,
    use_cache: bool = True,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> NeuronRecord:
    """Load a record as `load_neuron` does, in a thread, so that the event loop keeps running.

    An example for a notebook cell: `record = await load_neuron_async("https://host/dataset", 2, 5)`.

    Raises:
        NeuronNotFoundError, …: as `load_neuron`.
    """
    import asyncio

    load = partial(load_neuron, use_cache=use_cache, revalidate=revalidate, settings=settings)
    return await asyncio.to_thread(load, dataset_path, layer_index, neuron_index)


def neuron_exists(
    dataset_path: str | os.PathLike[str],
    layer_index: SupportsIndex | str,
    neuron_index: SupportsIndex | str,
    *,
    use_cache: bool = True,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> bool:
    """Whether the dataset at a path has a neuron. Of an address, only the answer's status is read.

    Raises:
        MissingFileError: the folder does not exist.
        DownloadError: the server could not be reached, or answered with an error other than 404 or 410.
        InvalidRequestError: an index is negative or not a whole number.
    """
    layer, neuron = _indices(layer_index, neuron_index)
    if _is_packed(dataset_path):
        dataset = open_packed_dataset(dataset_path)
        return dataset.has_layer(layer) and neuron < dataset.n_components(layer)
    return exists(record_location(dataset_path, layer, neuron), use_cache=use_cache, settings=settings)


def save_neuron(dataset_path: str | os.PathLike[str], record: NeuronRecord) -> Path:
    """Write a record into a local dataset, as `{layer}/{index}.json` with the field names of the public datasets.

    The file is written whole or not at all. `load_neuron` reads an equal record from it.

    Args:
        dataset_path: the dataset's folder; created if missing.
        record: the record.

    Returns:
        The file.

    Raises:
        InvalidRequestError: the path is an address, or holds a packed dataset; or `record` is not a NeuronRecord.

    An example: `save_neuron("my_dataset", record)`, then `load_neuron("my_dataset", 2, 5)`.
    """
    if isinstance(dataset_path, NeuronRecord):
        raise InvalidRequestError("dataset_path is a record. The order is save_neuron(dataset_path, record).")
    checked_type("record", record, NeuronRecord)
    if is_url(dataset_path):
        raise InvalidRequestError(
            f"{without_secrets(dataset_path)} is an address. Records are written to local folders: give a path."
        )
    if is_packed_dataset(dataset_path):
        raise InvalidRequestError(
            f"{os.fspath(dataset_path)} is a packed dataset, where a record's own file would not be read. "
            "Choose another folder."
        )
    path = Path(record_location(dataset_path, record.neuron_id.layer_index, record.neuron_id.neuron_index))
    write_bytes_atomically(path, record_to_json(record))
    return path


def record_location(
    dataset_path: str | os.PathLike[str],
    layer_index: SupportsIndex | str,
    neuron_index: SupportsIndex | str,
    suffix: str = "json",
) -> str:
    """The path or address of one neuron's file, in a dataset with one file per neuron.

    Raises:
        InvalidRequestError: an index is negative or not a whole number.
    """
    layer, neuron = _indices(layer_index, neuron_index)
    return joined(dataset_path, layer, f"{neuron}.{suffix}")


def _is_packed(dataset_path: str | os.PathLike[str]) -> bool:
    if is_url(dataset_path):
        return False
    if not is_local_folder(dataset_path):  # otherwise the error would name the neuron, and not the folder
        raise MissingFileError(os.fspath(dataset_path), "folder not found")
    return is_packed_dataset(dataset_path)


def _indices(layer: SupportsIndex | str, neuron: SupportsIndex | str) -> tuple[int, int]:
    """Both indices as plain ints. They become part of a path, so anything else is refused."""
    return checked_index("layer", layer, digits=True), checked_index("neuron", neuron, digits=True)
