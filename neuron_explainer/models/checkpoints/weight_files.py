"""The files with a Hugging Face checkpoint's weights: whole or in shards, safetensors or pickled.

A pickle is a program. So pickled weights are read only if they are asked for, and by `torch.load(weights_only=True)`,
which builds tensors and plain containers alone.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

import torch

from neuron_explainer.errors import (
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MissingTensorError,
    UnsupportedCheckpointError,
    shown,
)
from neuron_explainer.models.checkpoints.file_source import FileSource, read_json_object
from neuron_explainer.models.tensor_files.mxfp4 import Mxfp4Reader
from neuron_explainer.models.tensor_files.pickled_weights import PickledReader
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader

WeightsReader = SafetensorsReader | Mxfp4Reader | PickledReader
_WEIGHTS = "model.safetensors"
_PICKLED = "pytorch_model.bin"
_INDEX = ".index.json"
_SAFE_FROM = (2, 6)  # before, `weights_only` could be led astray: CVE-2025-32434


def open_weights(source: FileSource, pickled: bool) -> SafetensorsReader | PickledReader:
    """The tensors of the whole safetensors file, or of its shards; else those of pickled files, if these may be read.

    As in `transformers`, the whole file comes first: an index beside it may be a remnant.

    Raises:
        CheckpointNotFoundError: there are no weights that may be read, or a shard is missing.
        MalformedCheckpointError: the index or a file is malformed.
        MissingTensorError: a shard lacks a tensor that the index places there.
        UnsupportedCheckpointError: this version of PyTorch does not read pickled weights safely.
    """
    found = _files(source, _WEIGHTS)
    if found is not None:
        _check_index(found, lambda file: SafetensorsReader([file]).names())
        return SafetensorsReader(list(found))
    found = _files(source, _PICKLED) if pickled else None
    if found is None:
        advice = (
            "" if pickled else " Pickled weights (.bin) are not read unless pickled=True allows it: then PyTorch reads "
            "them with weights_only=True, which runs no code from them."
        )  # fmt: skip
        raise CheckpointNotFoundError(
            f"{source} has neither {_WEIGHTS} nor {_WEIGHTS}{_INDEX}"
            f"{f', nor {_PICKLED}' if pickled else ''}. {source.describe_weights()}{advice}",
            file=source,
        )
    version = torch.__version__.split("+")[0].split(".")[:2]
    if tuple(int(part) for part in version) < _SAFE_FROM:
        raise UnsupportedCheckpointError(
            f"Pickled weights need PyTorch 2.6 or newer, whose weights_only=True is safe; this is {torch.__version__}.",
            file=source,
        )
    reader = PickledReader(list(found))
    _check_index(found, reader.names_in)
    return reader


def _files(source: FileSource, whole: str) -> dict[Path, list[str]] | None:
    """The weights' files, each with the tensors that the index places there; None if there are none."""
    file = source.find(whole)
    if file is not None:
        return {file: []}
    index_file = source.find(whole + _INDEX)
    if index_file is None:
        return None
    weight_map = read_json_object(index_file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise MalformedCheckpointError(f"{index_file} has no weight_map.", file=index_file)
    by_name: dict[str, list[str]] = {}
    for tensor, name in weight_map.items():
        _check_shard(index_file, tensor, name, PurePosixPath(whole).suffix)
        by_name.setdefault(name, []).append(tensor)
    files: dict[Path, list[str]] = {}
    for name, tensors in by_name.items():
        file = source.find(name)
        if file is None:
            raise CheckpointNotFoundError(
                f"{source} has no {name}; its index places tensor {tensors[0]!r} there.", file=name, tensor=tensors[0]
            )
        files[file] = tensors
    return files


def _check_shard(index_file: Path, tensor: str, name: object, suffix: str) -> None:
    if not isinstance(name, str) or "\0" in name or PurePosixPath(name).name != name or not name.endswith(suffix):
        raise MalformedCheckpointError(
            f"{index_file} places tensor {shown(tensor)} in {shown(name)}, which is not a {suffix.removeprefix('.')} "
            "file beside the index.",
            file=index_file,
            tensor=tensor,
        )


def _check_index(files: Mapping[Path, list[str]], names_in: Callable[[Path], Collection[str]]) -> None:
    for file, tensors in files.items():
        stored = names_in(file) if tensors else ()
        for tensor in tensors:
            if tensor not in stored:
                raise MissingTensorError(
                    f"{file} has no tensor {tensor!r}, but the index places it there.", file=file, tensor=tensor
                )
