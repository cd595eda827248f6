"""Write a finished collation as a dataset. Its folder appears only when it is complete."""

import os
from pathlib import Path

import msgspec
import torch

from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.packed.layout import (
    INFO_FILE_NAME,
    JSON_INFO_FILE_NAME,
    TOKENS_FILE_NAME,
    DatasetInfo,
    layer_file_name,
)
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.collation.output.building import building_folder
from neuron_explainer.collation.output.packing import packed_layer
from neuron_explainer.collation.runs.job import CorpusSummary, Job
from neuron_explainer.collation.settings import ActivationDtype, Layout
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.collation.statistics.layer_threads import for_each_layer
from neuron_explainer.errors import DatasetExistsError, InvalidRequestError
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.disk_full import raise_if_disk_full


def dataset_info(
    job: Job,
    collation: Collation,
    corpus: CorpusSummary,
    model_context: ModelContext,
    *,
    short_name: str,
    corpus_name: str,
) -> DatasetInfo:
    """The contents of `dataset.json`. They do not depend on the time or duration of the run.

    Raises:
        InvalidRequestError: the layers have different numbers of components.
    """
    settings = job.settings
    sizes = {layer: len(state.component) for layer, state in collation.layers.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidRequestError(
            f"The layers have different numbers of components: {sizes}. Collate them as separate datasets."
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
        is_by_token_pair=job.entry_kind is EntryKind.TOKEN_PAIRS,
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
    activation_dtype: ActivationDtype,
) -> None:
    """Write a dataset in the work folder, and move it to `path` when it is complete.

    Raises:
        OutOfSpaceError: the disk is full; the saved state is intact.
        DatasetExistsError: as `move_into_place`.
    """
    with raise_if_disk_full(work_folder), building_folder(work_folder, "packed") as packed:
        write_packed_dataset_info(packed, info, token_strings)

        def write(layer: int) -> None:
            write_packed_layer(packed, layer, packed_layer(collation, layer, activation_dtype=activation_dtype))

        for_each_layer(write, info.layer_indices, torch.device("cpu"))
        if layout == "packed":
            move_into_place(packed, path)
            return
        with building_folder(work_folder, "json") as building:
            write_json_dataset(packed, building)
            move_into_place(building, path)


def write_json_dataset(packed: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Write a packed dataset's records as JSON files, one per component: `{layer}/{index}.json`."""
    dataset = PackedDataset.open(packed)
    for layer in dataset.info.layer_indices:
        for index in range(dataset.n_components(layer)):
            save_neuron(path, dataset.record(layer, index))
    described = msgspec.json.format(msgspec.json.encode(dataset.info))
    write_bytes_atomically(Path(path) / JSON_INFO_FILE_NAME, described)


def move_into_place(building: Path, path: Path) -> None:
    """Move a complete folder to `path`. Files of others that are there stay; the file that describes it comes last.

    Raises:
        DatasetExistsError: a file of others has the name of one of the dataset's. Nothing is moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_vacant(path) and _is_removed(path):
        os.replace(building, path)
        return
    described = (INFO_FILE_NAME, JSON_INFO_FILE_NAME)
    files = [file for file in building.rglob("*") if file.is_file()]
    for target in (path / file.relative_to(building) for file in files):
        if os.path.lexists(target):
            raise DatasetExistsError(
                f"{target} is not of a dataset made by collate. Move it away, then make the same call again to go on."
            )
    for file in sorted(files, key=lambda file: file.name in described):
        target = path / file.relative_to(building)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)


def _is_removed(path: Path) -> bool:
    """Remove an empty folder, if there is one. A link, a mounted disk or the working directory stays: False."""
    if not os.path.lexists(path):
        return True
    if path.name in ("", "..") or path.absolute() == Path.cwd():
        return False
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def is_vacant(path: Path) -> bool:
    """Whether a dataset can be made at `path`: it does not exist, or is an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def finished_dataset(path: Path) -> tuple[DatasetInfo, Layout] | None:
    """What the dataset in a folder says of itself, and its layout; None if nothing is there.

    Raises:
        DatasetExistsError: something else is there.
    """
    if is_vacant(path):
        return None
    layouts: dict[str, Layout] = {INFO_FILE_NAME: "packed", JSON_INFO_FILE_NAME: "json"}
    for name, layout in layouts.items():
        if (path / name).is_file():
            try:
                return msgspec.json.decode((path / name).read_bytes(), type=DatasetInfo), layout
            except (msgspec.MsgspecError, ValueError) as error:
                raise DatasetExistsError(
                    f"{path / name} is damaged ({error}). Choose another folder, or remove the dataset."
                ) from None
    raise DatasetExistsError(f"{path} exists, but it is not a dataset made by collate. Choose another folder.")


def remove_dataset(path: Path) -> None:
    """Remove the files of the dataset in a folder, and its folders that are then empty. Other files stay.

    Raises:
        DatasetExistsError: as `finished_dataset`.
    """
    found = finished_dataset(path)
    if found is None:
        return
    info, layout = found
    if layout == "packed":
        files = [path / name for name in (INFO_FILE_NAME, TOKENS_FILE_NAME, *map(layer_file_name, info.layer_indices))]
    else:
        files = [path / str(layer) / f"{n}.json" for layer in info.layer_indices for n in range(info.n_components)]
        files.append(path / JSON_INFO_FILE_NAME)
    for file in files:
        file.unlink(missing_ok=True)
    for folder in {file.parent for file in files} - {path}:
        remove_if_empty(folder)
    remove_if_empty(path)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that has nothing in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
