"""From one layout of a neuron dataset to the other."""

import os
import shutil
from pathlib import Path

import msgspec

from neuron_explainer.activations.activations import load_neuron
from neuron_explainer.activations.packed.dataset import is_packed_dataset
from neuron_explainer.activations.packed.layout import DatasetInfo
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.collation.output.repacking import Packer, Survey
from neuron_explainer.collation.output.writing import JSON_INFO_FILE_NAME, Layout, give_name, write_json_dataset
from neuron_explainer.collation.runs.saved_state import raise_if_disk_full
from neuron_explainer.errors import (
    DatasetExistsError,
    InvalidRequestError,
    MalformedDatasetError,
    MissingFileError,
    UnknownNameError,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of


def convert(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    layout: Layout,
    *,
    dst: DerivedScalarType | str | None = None,
    model: str | None = None,
    short_name: str | None = None,
    activation_dtype: str = "float32",
) -> Path:
    """Write a local neuron dataset in the other layout.

    Args:
        path: a packed dataset, or a folder of JSON files, `{layer}/{index}.json`, in any of the public spellings.
        out: the folder to make.
        layout: "packed" or "json".
        dst, model, short_name: what the JSON files are of; needed for those that `collate` did not make.
        activation_dtype: of the packed activations, "float32" or "float16".

    Returns:
        The new folder; it is there when it is complete.

    Raises:
        MissingFileError: there is no dataset at `path`.
        DatasetExistsError: `out` is there already.
        InvalidRequestError: `path` has that layout already, or it is not said what the JSON files are of.
        MalformedRecordError: a file is no record.
        MalformedDatasetError: the layers differ in their components, or have gaps.
        OutOfSpaceError: the disk is full.
    """
    source, target = Path(path), Path(out)
    if layout not in ("packed", "json"):
        raise UnknownNameError("layout", str(layout), ("packed", "json"))
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DatasetExistsError(f"{target} is there already: choose another folder.")
    if is_packed_dataset(source) == (layout == "packed"):
        raise InvalidRequestError(f"{source} is in the {layout} layout already.")
    building = target.with_name(target.name + ".converting")
    shutil.rmtree(building, ignore_errors=True)
    try:
        with raise_if_disk_full(building):
            if layout == "json":
                write_json_dataset(source, building)
            else:
                _pack(source, building, dst, model, short_name, activation_dtype)
            give_name(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _pack(
    source: Path,
    building: Path,
    dst: DerivedScalarType | str | None,
    model: str | None,
    short_name: str | None,
    activation_dtype: str,
) -> None:
    indices_by_layer = _indices_by_layer(source)
    described = source / JSON_INFO_FILE_NAME
    known = msgspec.json.decode(described.read_bytes(), type=DatasetInfo) if described.is_file() else None
    if known is None and (dst is None or model is None):
        raise InvalidRequestError(
            f"{source} does not say what it is of: give dst= (such as 'mlp_post_act') and model= (such as "
            "'gpt2-small')."
        )
    sizes = {layer: len(indices) for layer, indices in indices_by_layer.items()}
    if len(set(sizes.values())) > 1 or any(
        indices != list(range(len(indices))) for indices in indices_by_layer.values()
    ):
        raise MalformedDatasetError(
            f"a packed dataset has the same components, from 0 on without gaps, in every layer; these are {sizes}",
            str(source),
        )
    # Two readings: what all records need (tokens, longest window) comes first, then one layer at a time.
    survey = Survey()
    for layer, indices in indices_by_layer.items():
        for index in indices:
            survey.add(load_neuron(source, layer, index))
    resolved = derived_scalar_type_of(dst if dst is not None else known.derived_scalar_type)  # type: ignore[union-attr]
    layers = sorted(indices_by_layer)
    info = DatasetInfo(
        model=model or known.model,  # type: ignore[union-attr]
        derived_scalar_type=resolved.value,
        short_name=short_name or (known.short_name if known else building.name.removesuffix(".converting")),
        user_visible_name=known.user_visible_name if known else f"{model} - {resolved.value.replace('_', ' ')}",
        n_layers=known.n_layers if known else layers[-1] + 1,
        layer_indices=layers,
        n_components=next(iter(sizes.values())),
        context_length=survey.longest,
        is_by_token_pair=survey.by_pair,
        attended_window=survey.attended_window,
        dimensions=[axis.value for axis in resolved.shape_spec_per_token_sequence],
        corpus=known.corpus if known else "",
        provenance={"converted_from": known.provenance if known else "JSON files"},
    )
    write_packed_dataset_info(building, info, list(survey.vocabulary))
    for layer, indices in indices_by_layer.items():
        records = [load_neuron(source, layer, index) for index in indices]
        write_packed_layer(building, layer, Packer(info, survey.vocabulary, activation_dtype).pack(records))


def _indices_by_layer(source: Path) -> dict[int, list[int]]:
    """The components of each layer, by the names of the files."""
    found = {
        int(folder.name): sorted(int(file.stem) for file in folder.glob("*.json") if file.stem.isdecimal())
        for folder in sorted(source.glob("*"))
        if folder.is_dir() and folder.name.isdecimal()
    }
    found = {layer: indices for layer, indices in sorted(found.items()) if indices}
    if not found:
        raise MissingFileError(str(source), "there is no neuron dataset in this folder: no file like 0/0.json")
    return found
