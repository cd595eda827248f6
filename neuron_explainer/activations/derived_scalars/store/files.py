"""A DerivedScalarStore on disk: its tensors by name, as `named_tensors` writes them."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from neuron_explainer.activations.derived_scalars.store.named_tensors import FileKind, read_named, write_named
from neuron_explainer.activations.derived_scalars.store.shapes import Tensors
from neuron_explainer.models.devices import DeviceGiven
from neuron_explainer.models.layers.routed import Neurons
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[str]
    summed: list[str]
    token_ids: list[int] | None = None
    loss: float | None = None
    traced_activation: float | None = None
    model_name: str | None = None
    n_beginning: int = 0


STORE = FileKind("neuron_explainer derived scalars 1", "file of derived scalars", _Metadata)


def write_store(path: str | os.PathLike[str], tensors: Tensors, metadata: Mapping[str, Any]) -> None:
    """Write the tensors and `metadata` (JSON values) to a file, which is replaced as a whole or left as it was.

    Raises:
        UnsupportedLocationError: `path` is neither a text nor a path object.
    """
    write_named(path, STORE, by_name(tensors), metadata)


def read_store(path: str | os.PathLike[str], device: DeviceGiven) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_store` wrote.

    Raises:
        MissingFileError: the file does not exist.
        MalformedStoreError: it is another kind of file, or is damaged.
        InvalidRequestError: `device` is not a device, or is not available here.
        UnsupportedLocationError: `path` is neither a text nor a path object.
    """
    source, named, metadata = read_named(path, STORE, device)
    with STORE.reading(source):
        return from_names(named), msgspec.structs.asdict(metadata)


def by_name(tensors: Tensors) -> dict[str, Neurons]:
    """The tensors by names that say what each is."""
    return {
        f"{dst.value}|{pass_type.value}|{'none' if layer is None else layer}": tensor
        for (dst, pass_type), by_layer in tensors.items()
        for layer, tensor in by_layer.items()
    }


def from_names(named: Mapping[str, Neurons]) -> Tensors:
    """What `by_name` was given.

    Raises:
        ValueError, KeyError: a name is not one of these.
    """
    tensors: dict[tuple[DerivedScalarType, PassType], dict[int | None, Neurons]] = {}
    for name, tensor in named.items():
        dst, pass_type, layer = name.split("|")
        by_layer = tensors.setdefault((derived_scalar_type_of(dst), PassType(pass_type)), {})
        by_layer[None if layer == "none" else int(layer)] = tensor
    return tensors
