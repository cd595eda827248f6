"""Convert a neuron dataset from one layout to the other."""

import os
from pathlib import Path

import msgspec

from neuron_explainer.activation_server.dataset_paths import local_dataset_folder
from neuron_explainer.activations.activations import load_neuron
from neuron_explainer.activations.dataset_types import type_of_folder
from neuron_explainer.activations.packed.dataset import is_packed_dataset
from neuron_explainer.activations.packed.layout import JSON_INFO_FILE_NAME, MOST_INFO_BYTES, DatasetInfo
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.collation.output.building import building_folder
from neuron_explainer.collation.output.dataset_writing import (
    is_vacant,
    move_into_place,
    write_json_dataset,
)
from neuron_explainer.collation.output.repacking import Packer, Survey
from neuron_explainer.collation.runs.work_folder import held_work_folder
from neuron_explainer.collation.settings import DEFAULT_CONVERTED_DTYPE, ConvertedDtype, Layout, check_choice
from neuron_explainer.errors import (
    DatasetExistsError,
    InvalidRequestError,
    MalformedDatasetError,
    MissingFileError,
)
from neuron_explainer.storage.disk_full import raise_if_disk_full
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.storage.locations import local_path
from neuron_explainer.vocabulary.checks import checked_text
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.wording import as_valid_text


def convert(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    layout: Layout | None = None,
    *,
    dst: DerivedScalarType | str | None = None,
    model: str | None = None,
    short_name: str | None = None,
    activation_dtype: ConvertedDtype = DEFAULT_CONVERTED_DTYPE,
) -> Path:
    """Write a local neuron dataset in the other layout.

    Args:
        path: the registered short name or the folder of a packed dataset, or of JSON files, `{layer}/{index}.json`, in
            any of the public spellings.
        out: the folder to make.
        layout: "packed" or "json"; None: the layout that `path` does not have.
        dst, model, short_name: derived scalar type, model and short name of JSON files. `model` is needed unless
            `collate` made the files; `dst`, unless the records or the folder's name say it, too. `dst` also selects
            among the datasets of one registered name; None: MLP_POST_ACT.
        activation_dtype: dtype of packed activations, "float32" or "float16".

    Returns:
        The new folder. It appears only when it is complete.

    Raises:
        UnknownDatasetError: `path` is neither a folder nor a registered name.
        MissingFileError: the folder has no dataset.
        DatasetExistsError: `out` exists, or another run is making it at this moment.
        InvalidRequestError: the dataset is at an address or already has the layout; `model` or `short_name` is not a
            text; or `dst` or `model` is needed and not given.
        UnknownNameError: `layout`, `dst` or `activation_dtype` is unknown.
        MalformedRecordError: a file is not a neuron record.
        MalformedDatasetError: the layers differ in their components, or components are missing.
        OutOfSpaceError: the disk is full.

    >>> import tempfile
    >>> from importlib.resources import files
    >>> packed = files("neuron_explainer") / "data" / "tiny" / "attn_write_norm"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = convert(packed, f"{folder}/heads_as_json")
    ...     (made / "2" / "0.json").exists()
    True
    """
    target = local_path("out", out)
    source = local_dataset_folder(path, DerivedScalarType.MLP_POST_ACT if dst is None else dst)
    is_packed = is_packed_dataset(source)
    if layout is None:
        layout = "json" if is_packed else "packed"
    check_choice("layout", layout, Layout)
    for name, text in (("model", model), ("short_name", short_name)):
        if text is not None:
            checked_text(name, text)
    check_choice("activation_dtype", activation_dtype, ConvertedDtype)
    _refuse_taken(target)
    if is_packed == (layout == "packed"):
        raise InvalidRequestError(f"{source} already has the {layout} layout.")
    with held_work_folder(target):  # another process would remove what this one builds
        _refuse_taken(target)
        with building_folder(target.parent, target.name) as building, raise_if_disk_full(building):
            if layout == "json":
                write_json_dataset(source, building)
            else:
                _pack(source, building, dst, model, short_name, activation_dtype, target)
            move_into_place(building, target)
    return target


def _refuse_taken(target: Path) -> None:
    if not is_vacant(target):
        raise DatasetExistsError(f"{target} exists. Choose another folder.")


def _pack(
    source: Path,
    building: Path,
    dst: DerivedScalarType | str | None,
    model: str | None,
    short_name: str | None,
    activation_dtype: ConvertedDtype,
    target: Path,
) -> None:
    indices_by_layer = _indices_by_layer(source)
    known = _description(source / JSON_INFO_FILE_NAME)
    model = model or (known.model if known else None)
    missing = "dst=" if model is not None else "dst=, and model= (such as 'gpt2-small')"
    dst = type_of_folder(source, f"Give {missing}.") if dst is None else derived_scalar_type_of(dst)
    if model is None:
        raise InvalidRequestError(f"{source} does not name its model. Give model= (such as 'gpt2-small').")
    # The records are read twice: first to survey all of them for the layout, then to pack layer by layer.
    survey = Survey()
    for layer, indices in indices_by_layer.items():
        for index in indices:
            survey.add(load_neuron(source, layer, index))
    layers = list(indices_by_layer)
    info = DatasetInfo(
        model=model,
        derived_scalar_type=dst.value,
        short_name=short_name or (known.short_name if known else as_valid_text(target.name)),
        user_visible_name=known.user_visible_name if known else f"{model} - {dst.value.replace('_', ' ')}",
        n_layers=known.n_layers if known else layers[-1] + 1,
        layer_indices=layers,
        n_components=len(indices_by_layer[layers[0]]),
        context_length=survey.longest,
        is_by_token_pair=survey.by_pair,
        attended_window=survey.attended_window,
        dimensions=[axis.value for axis in dst.shape_spec_per_token_sequence],
        corpus=known.corpus if known else "",
        provenance={"converted_from": known.provenance if known else "JSON files"},
    )
    write_packed_dataset_info(building, info, list(survey.vocabulary))
    for layer, indices in indices_by_layer.items():
        records = [load_neuron(source, layer, index) for index in indices]
        write_packed_layer(building, layer, Packer(info, survey.vocabulary, activation_dtype).pack(records))


def _description(file: Path) -> DatasetInfo | None:
    """What `collate` wrote about JSON files; None if it did not.

    Raises:
        MalformedDatasetError: it is damaged.
    """
    if not os.path.lexists(file):
        return None
    try:
        return msgspec.json.decode(read_local_bytes(file, MOST_INFO_BYTES), type=DatasetInfo)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedDatasetError(str(error), str(file)) from None


def _indices_by_layer(source: Path) -> dict[int, list[int]]:
    """The layers in order with their components, by the names of the files.

    Raises:
        MissingFileError: the folder has no JSON dataset.
        MalformedDatasetError: the layers differ in their components, or components are missing.
    """
    found = {
        int(folder.name): sorted(int(file.stem) for file in folder.glob("*.json") if file.stem.isdecimal())
        for folder in source.glob("*")
        if folder.is_dir() and folder.name.isdecimal()
    }
    found = {layer: indices for layer, indices in sorted(found.items()) if indices}
    if not found:
        raise MissingFileError(str(source), "the folder has no neuron dataset: neither dataset.json nor 0/0.json found")
    sizes = {layer: len(indices) for layer, indices in found.items()}
    if len(set(sizes.values())) > 1 or any(indices != list(range(len(indices))) for indices in found.values()):
        raise MalformedDatasetError(
            f"every layer must have the same components, from 0 up without gaps; components per layer: {sizes}",
            str(source),
        )
    return found
