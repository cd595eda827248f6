"""Control vectors: GGUF files of directions by layer, as repeng and llama.cpp write and apply them.

A file says `general.architecture` = "controlvector" and may name the model's architecture (`controlvector.model_hint`).
Its tensors are `direction.{l}`, float32 (d_model). llama.cpp adds `direction.l` to what block l gives, where the first
block is number 0 and has none: its loader reads from `direction.1` on, and its graph adds entry l after block l. So
`direction.l` is this library's layer l, at the end of the layer (RESID_POST_MLP), and there is no `direction.0`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import (
    CheckpointNotFoundError,
    InvalidRequestError,
    MalformedCheckpointError,
    TensorShapeError,
    shown,
)
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.models.tensor_files.gguf_writing import write_gguf
from neuron_explainer.storage.locations import local_path
from neuron_explainer.wording import number_ranges

ARCHITECTURE = "controlvector"
_NAME = re.compile(r"direction\.(0|[1-9][0-9]{0,5})", re.ASCII)
_LAST_LAYER = 999_999
_NO_DIRECTION_0 = (
    "llama.cpp adds direction.l to what block l gives, counted from 0, and reads none for block 0: in such a file the "
    "first layer has no direction"
)


def read_control_vector(path: str | os.PathLike[str], model: ModelContext) -> dict[int, Float[Tensor, " d_model"]]:
    """The directions of a control-vector file by layer, float32 on the CPU, ascending.

    Args:
        path: a local GGUF file.
        model: the model that is to be steered, which says the size of a direction and how many layers there are.

    Raises:
        CheckpointNotFoundError: there is no such file.
        MalformedCheckpointError: it is not a GGUF file of control vectors, is cut off, or has other tensors, none, or
            one for block 0.
        UnsupportedCheckpointError: its version, its byte order or the type of a tensor is not supported.
        TensorShapeError: a direction is not of the model's d_model.
        InvalidRequestError: it has a direction for a layer that the model does not have.
        NonFiniteTensorError: a number is NaN or infinite.
        UnsupportedLocationError: `path` is not a local path.
    """
    file = local_path("path", path)
    if not file.is_file():
        raise CheckpointNotFoundError(f"There is no file {file}.")
    opened = GgufFile.open(file)
    architecture = opened.metadata.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise MalformedCheckpointError(
            f"{file} is a GGUF file of {shown(architecture)}, not of control vectors ({ARCHITECTURE!r}).", file=file
        )
    if not opened.tensors:
        raise MalformedCheckpointError(f"{file} has no directions.", file=file)
    by_layer = {_layer(file, name): name for name in opened.names()}
    outside = [layer for layer in by_layer if layer >= model.n_layers]
    if outside:
        raise InvalidRequestError(
            f"{file} has directions for layers {number_ranges(sorted(by_layer))}, and {model.model_name} has layers "
            f"0–{model.n_layers - 1}. Give a file for this model."
        )
    for name in by_layer.values():
        shape = opened.tensors[name].shape
        if shape != (model.d_model,):
            raise TensorShapeError(
                f"{file}: {name} has shape {shape}; directions of {model.model_name} have ({model.d_model},).",
                file=file,
                tensor=name,
            )
    return {
        layer: opened.read(by_layer[layer], dtype=torch.float32, device=torch.device("cpu"))
        for layer in sorted(by_layer)
    }


def _layer(file: Path, name: str) -> int:
    found = _NAME.fullmatch(name)
    if found is None:
        raise MalformedCheckpointError(
            f"{file} has a tensor {shown(name)}; those of control vectors are direction.1, direction.2, …",
            file=file,
            tensor=name,
        )
    if found[1] == "0":
        raise MalformedCheckpointError(f"{file} has a tensor direction.0. {_NO_DIRECTION_0}.", file=file, tensor=name)
    return int(found[1])


def write_control_vector(
    path: str | os.PathLike[str], by_layer: Mapping[int, Float[Tensor, " d_model"]], model_hint: str
) -> None:
    """Write directions as a control-vector file, which llama.cpp reads (`--control-vector`).

    Args:
        path: the file.
        by_layer: the directions, by layer.
        model_hint: the model's architecture, `controlvector.model_hint`.

    Raises:
        InvalidRequestError: there is none, one is for layer 0, or a number is not finite in float32.
        UnsupportedLocationError: `path` is not a local path.
        OSError: the system refuses to write there.
    """
    if not by_layer:
        raise InvalidRequestError("There is no direction to write.")
    if 0 in by_layer:
        raise InvalidRequestError(
            f"A direction for layer 0 cannot be written to a control-vector file. {_NO_DIRECTION_0}. Choose other "
            "layers."
        )
    for layer, direction in by_layer.items():
        if not 0 < layer <= _LAST_LAYER or not bool(direction.float().isfinite().all()):
            raise InvalidRequestError(
                f"The direction of layer {shown(layer)} cannot be written: numbers must be finite in float32, and "
                f"layers from 1 to {_LAST_LAYER:,}."
            )
    write_gguf(
        path,
        {
            "general.architecture": ARCHITECTURE,
            "controlvector.model_hint": model_hint,
            "controlvector.layer_count": len(by_layer),
        },
        {f"direction.{layer}": by_layer[layer] for layer in sorted(by_layer)},
    )
