"""A finished collation, written as a dataset that is wholly there or not at all."""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import msgspec

from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.packed.layout import INFO_FILE_NAME, DatasetInfo
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.collation.output.packing import packed_layer
from neuron_explainer.collation.runs.local import Corpus, Job
from neuron_explainer.collation.runs.saved_state import raise_if_disk_full
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entries import Entries
from neuron_explainer.errors import DatasetExistsError, InvalidRequestError
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.storage.atomic import write_bytes_atomically

Layout = Literal["packed", "json"]
JSON_INFO_FILE_NAME = "collated.json"
"""What the JSON layout, which has no place of its own for it, keeps the dataset's description in."""


def dataset_info(
    job: Job, collation: Collation, corpus: Corpus, model_context: ModelContext, *, short_name: str, corpus_name: str
) -> DatasetInfo:
    """What `dataset.json` says of the dataset. Nothing in it depends on when or how long the run was."""
    settings = job.settings
    sizes = {layer: len(state.component) for layer, state in collation.layers.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidRequestError(
            f"The layers have different numbers of components ({sizes}), and a dataset has one: collate them apart."
        )
    described = settings.dst.value.replace("_", " ")
    return DatasetInfo(
        model=model_context.model_name,
        derived_scalar_type=settings.dst.value,
        short_name=short_name,
        user_visible_name=f"{model_context.model_name} - {described}",
        n_layers=1 if settings.dst.has_no_layers else model_context.n_layers,
        layer_indices=sorted(collation.layers),
        n_components=next(iter(sizes.values())),
        context_length=settings.context_length,
        is_by_token_pair=job.entries is Entries.TOKEN_PAIRS,
        dimensions=[axis.value for axis in settings.dst.shape_spec_per_token_sequence],
        tokenizer_hash=model_context.tokenizer.fingerprint,
        corpus=corpus_name,
        provenance={**job.identity, "corpus": msgspec.to_builtins(corpus), "bos_token": job.bos_token},
    )


def write_dataset(
    path: Path,
    work_folder: Path,
    info: DatasetInfo,
    collation: Collation,
    token_strings: list[str],
    *,
    layout: Layout,
    activation_dtype: str,
) -> None:
    """Write a dataset in a folder of its own, and give it its name when it is complete.

    Raises:
        OutOfSpaceError: the disk is full; the checkpoint is still there.
    """
    building = work_folder / "dataset"
    shutil.rmtree(building, ignore_errors=True)
    packed = building if layout == "packed" else work_folder / "packed"
    shutil.rmtree(packed, ignore_errors=True)
    with raise_if_disk_full(work_folder):
        write_packed_dataset_info(packed, info, token_strings)
        for layer in info.layer_indices:
            write_packed_layer(packed, layer, packed_layer(collation, layer, activation_dtype=activation_dtype))
        if layout == "json":
            write_json_dataset(packed, building)
            shutil.rmtree(packed)
        give_name(building, path)


def write_json_dataset(packed: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Write a packed dataset's records as one JSON file a component, `{layer}/{index}.json`."""
    dataset = PackedDataset.open(packed)
    for layer in dataset.info.layer_indices:
        for index in range(dataset.n_components(layer)):
            save_neuron(path, dataset.record(layer, index))
    described = msgspec.json.format(msgspec.json.encode(dataset.info))
    write_bytes_atomically(Path(path) / JSON_INFO_FILE_NAME, described)


def give_name(building: Path, path: Path) -> None:
    """Let a complete folder take the place of an empty one, or of none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    os.replace(building, path)


def info_of_finished(path: Path) -> dict[str, Any] | None:
    """The provenance of the dataset in a folder; None if there is nothing in it.

    Raises:
        DatasetExistsError: there is something else in it.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    for name in (INFO_FILE_NAME, JSON_INFO_FILE_NAME):
        if (path / name).is_file():
            return msgspec.json.decode((path / name).read_bytes(), type=DatasetInfo).provenance
    raise DatasetExistsError(f"{path} is there already and is no dataset made by collate: choose another folder.")
