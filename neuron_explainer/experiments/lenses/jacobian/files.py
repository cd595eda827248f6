"""Files of Jacobian lenses: the public `.pt` form, read without running code from it, and safetensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, MalformedCheckpointError, UnknownNameError, shown
from neuron_explainer.models.tensor_files.pytorch_files import MOST_BYTES, read_pytorch_file
from neuron_explainer.models.tensor_files.raw_tensors import check_finite
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader
from neuron_explainer.storage.atomic import replaced_atomically
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.storage.reading import fetch_file
from neuron_explainer.storage.safetensors_header import SafetensorsError
from neuron_explainer.storage.tensor_views import tensor_metadata
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.wording import number_ranges, without_steering

PUBLIC, SAFETENSORS = ".pt", ".safetensors"
DTYPES = {"float32": torch.float32, "float16": torch.float16}
_MOST_LAYERS, _MOST_PROMPTS, _LONGEST_NAME = 4096, 2**53, 200
_PREFIX, _KIND = "J.", "jacobian_lens"


@dataclass(frozen=True)
class LensFile:
    """What is in a file of a Jacobian lens; see `JacobianLens`."""

    matrices: Mapping[int, Tensor]
    n_prompts: int
    target_layer: int | None
    model_name: str


def form_of(path: str | os.PathLike[str]) -> str:
    """The form of a file, by the end of its name.

    Raises:
        InvalidRequestError: it ends otherwise.
    """
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    suffix = PurePath(name.split("?")[0]).suffix if isinstance(name, str) else ""
    if suffix not in (PUBLIC, SAFETENSORS):
        raise InvalidRequestError(
            f"{shown(path)} is not the name of a Jacobian lens. Give one that ends in {SAFETENSORS} or {PUBLIC}."
        )
    return suffix


def write_lens_file(path: str | os.PathLike[str], lens: LensFile, dtype: str | None = None) -> None:
    """Write a lens, whole or not at all; see `JacobianLens.save`."""
    form = form_of(path)
    name = ("float16" if form == PUBLIC else "float32") if dtype is None else dtype
    if not isinstance(name, str) or name not in DTYPES:
        raise UnknownNameError("dtype", name, DTYPES)
    layers = sorted(lens.matrices)
    matrices = {layer: lens.matrices[layer].to("cpu", DTYPES[name]).contiguous() for layer in layers}
    if any(not matrix.isfinite().all() for matrix in matrices.values()):
        raise InvalidRequestError(f"A number of the lens is too large for {name}. Write it in float32.")
    with replaced_atomically(path) as temporary:
        if form == SAFETENSORS:
            target = {} if lens.target_layer is None else {"target_layer": str(lens.target_layer)}
            metadata = {"kind": _KIND, "n_prompts": str(lens.n_prompts), "model_name": lens.model_name, **target}
            save_file({f"{_PREFIX}{layer}": matrix for layer, matrix in matrices.items()}, temporary, metadata)
            return
        content: dict[str, Any] = {
            "J": matrices,
            "n_prompts": lens.n_prompts,
            "source_layers": layers,
            "d_model": len(matrices[layers[0]]),
        }
        if lens.target_layer is not None:  # other programs' files have no such entry: the last layer is meant
            content["target_layer"] = lens.target_layer
        torch.save(content, temporary)


def read_lens_file(path: str | os.PathLike[str]) -> LensFile:
    """Read and check a file; see `load_jacobian_lens`."""
    form, name = form_of(path), without_secrets(path)
    try:
        if form == SAFETENSORS:
            return _read_safetensors(fetch_file(path, MOST_BYTES))
        return _read_public(read_pytorch_file(path), name)
    except ValueError as error:
        if type(error) not in (ValueError, SafetensorsError):
            raise
        raise MalformedCheckpointError(f"{name} is not a Jacobian lens: {error}.", file=name) from None


def _read_public(content: Any, name: str) -> LensFile:
    if not isinstance(content, Mapping) or not isinstance(content.get("J"), Mapping):
        raise ValueError("it has no entry J with a matrix for each layer")
    matrices: dict[int, Tensor] = {}
    for layer, matrix in content["J"].items():
        if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
            raise ValueError(f"its entry J holds {shown(matrix, 60)} for layer {shown(layer, 30)}")
        check_finite(matrix, file=name, name=f"J[{layer!s:.20}]")
        matrices[_number("layer", layer, _MOST_LAYERS)] = matrix.detach().float()
    layers, width = content.get("source_layers"), content.get("d_model")
    if layers is not None and (
        not isinstance(layers, list | tuple) or sorted(map(str, layers)) != sorted(map(str, matrices))
    ):
        raise ValueError(f"source_layers are {shown(layers, 80)}, and J has layers {number_ranges(matrices)}")
    _check_square(matrices, None if width is None else _number("d_model", width, 2**24))
    target = content.get("target_layer")
    return LensFile(
        matrices,
        _number("n_prompts", content.get("n_prompts"), _MOST_PROMPTS, at_least=1),
        None if target is None else _number("target_layer", target, _MOST_LAYERS),
        "",
    )


def _read_safetensors(file: Path) -> LensFile:
    reader = SafetensorsReader([file])
    metadata = tensor_metadata(file)
    if metadata.get("kind") != _KIND:
        raise ValueError("its metadata do not say that it is one")
    names = {_number("layer", name.removeprefix(_PREFIX), _MOST_LAYERS): name for name in reader.names()}
    if len(names) < len(reader.names()) or any(not name.startswith(_PREFIX) for name in names.values()):
        raise ValueError("it has other tensors than one matrix for each layer")
    _check_shapes({layer: reader.shape(name) for layer, name in names.items()}, None)
    target = metadata.get("target_layer")
    return LensFile(
        {layer: reader.read(names[layer], dtype=torch.float32, device=torch.device("cpu")) for layer in sorted(names)},
        _number("n_prompts", metadata.get("n_prompts"), _MOST_PROMPTS, at_least=1),
        None if target is None else _number("target_layer", target, _MOST_LAYERS),
        without_steering(metadata.get("model_name", ""))[:_LONGEST_NAME],
    )


def _check_square(matrices: Mapping[int, Tensor], width: int | None) -> None:
    _check_shapes({layer: tuple(matrix.shape) for layer, matrix in matrices.items()}, width)


def _check_shapes(shapes: Mapping[int, tuple[int, ...]], width: int | None) -> None:
    if not shapes:
        raise ValueError("it has no matrices")
    first = next(iter(shapes.values()))
    size = width if width is not None else first[0] if first else 0
    for layer, shape in shapes.items():
        if shape != (size, size) or not size:
            raise ValueError(f"the matrix of layer {layer} has shape {shape}, where ({size}, {size}) is expected")


def _number(name: str, value: object, at_most: int, at_least: int = 0) -> int:
    """A whole number of a file, which safetensors keep as text."""
    is_digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20
    number = int(str(value)) if is_digits else whole_number(value)
    if number is None or not at_least <= number <= at_most:
        raise ValueError(f"{name} is {shown(value, 60)}")
    return number
