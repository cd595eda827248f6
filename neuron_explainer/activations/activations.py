"""Neuron records, and reading and writing them.

A dataset is an http(s) address or a local folder. It holds one JSON file a neuron, `{layer}/{index}.json`, or, in a
local folder, the packed layout; reading tells the two apart.
"""

import operator
import os
from functools import partial
from pathlib import Path

from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.activations.record_json import record_from_json, record_to_json
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
from neuron_explainer.storage.locations import is_url, joined, without_secrets
from neuron_explainer.storage.reading import MOST_RECORD_BYTES, exists, read_decoded

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
    layer_index: int | str,
    neuron_index: int | str,
    *,
    use_cache: bool = True,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> NeuronRecord:
    """The record of one neuron, attention head or latent of the dataset at a path.

    Args:
        dataset_path: an http(s) address or a local folder.
        layer_index: the layer, from 0.
        neuron_index: the neuron, head or latent in it, from 0.
        use_cache: whether the disk cache is used for an address.
        revalidate: ask the server whether what is cached is still the present version.
        settings: time-outs and retries.

    Raises:
        NeuronNotFoundError: the dataset has no such neuron.
        MissingFileError: there is no such folder.
        MalformedRecordError: what is there is no record.
        MalformedDatasetError: a packed dataset's files are not sound.
        DownloadError: the address could not be read.
        UnsupportedLocationError: the path is neither an http(s) address nor a local one.
        InvalidRequestError: an index is not a whole number from 0 on.
    """
    layer, neuron = _index("layer", layer_index), _index("neuron", neuron_index)
    if _is_packed(dataset_path):
        return open_packed_dataset(dataset_path).record(layer, neuron)
    location = record_location(dataset_path, layer, neuron)
    try:
        return read_decoded(
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


async def load_neuron_async(
    dataset_path: str | os.PathLike[str],
    layer_index: int | str,
    neuron_index: int | str,
    *,
    use_cache: bool = True,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> NeuronRecord:
    """As `load_neuron`; the event loop goes on while it waits."""
    import asyncio

    load = partial(load_neuron, use_cache=use_cache, revalidate=revalidate, settings=settings)
    return await asyncio.to_thread(load, dataset_path, layer_index, neuron_index)


def neuron_exists(
    dataset_path: str | os.PathLike[str],
    layer_index: int | str,
    neuron_index: int | str,
    *,
    use_cache: bool = True,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> bool:
    """Whether the dataset at a path has a neuron.

    Raises:
        DownloadError: the server could not be reached, or said neither yes nor no.
        InvalidRequestError: an index is not a whole number from 0 on.
    """
    layer, neuron = _index("layer", layer_index), _index("neuron", neuron_index)
    if _is_packed(dataset_path):
        dataset = open_packed_dataset(dataset_path)
        return dataset.has_layer(layer) and neuron < dataset.n_components(layer)
    return exists(record_location(dataset_path, layer, neuron), use_cache=use_cache, settings=settings)


def save_neuron(dataset_path: str | os.PathLike[str], record: NeuronRecord) -> Path:
    """Write a record into a local dataset, as `{layer}/{index}.json` in the public datasets' spelling.

    The file is there wholly or not at all, and `load_neuron` reads an equal record from it.

    Returns:
        The file.

    Raises:
        InvalidRequestError: the path is an address, or holds a packed dataset.
    """
    if is_url(dataset_path):
        raise InvalidRequestError(f"Records are written to local folders, not to {without_secrets(dataset_path)}.")
    if is_packed_dataset(dataset_path):
        raise InvalidRequestError(
            f"{os.fspath(dataset_path)} is a packed dataset; a record of its own beside it would not be read."
        )
    path = Path(record_location(dataset_path, record.neuron_id.layer_index, record.neuron_id.neuron_index))
    write_bytes_atomically(path, record_to_json(record))
    return path


def record_location(
    dataset_path: str | os.PathLike[str], layer_index: int | str, neuron_index: int | str, suffix: str = "json"
) -> str:
    """The file of one neuron in a dataset of a file a neuron.

    Raises:
        InvalidRequestError: an index is not a whole number from 0 on.
    """
    return joined(dataset_path, _index("layer", layer_index), f"{_index('neuron', neuron_index)}.{suffix}")


def _is_packed(dataset_path: str | os.PathLike[str]) -> bool:
    if is_url(dataset_path):
        return False
    if not Path(dataset_path).is_dir():  # else every neuron would seem to be missing from a dataset that is there
        raise MissingFileError(os.fspath(dataset_path), "there is no such folder, so no neuron dataset")
    return is_packed_dataset(dataset_path)


def _index(kind: str, index: int | str) -> int:
    """The index as a number. It becomes part of a path, so nothing but a number will do."""
    if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10:
        return int(index)  # older code passes digits
    try:
        number = operator.index(index)  # type: ignore[arg-type]  # numpy's integers, too
    except TypeError:
        number = -1
    if number < 0 or isinstance(index, bool):
        raise InvalidRequestError(f"A {kind} index is a whole number from 0 on, not {index!r}.")
    return number
