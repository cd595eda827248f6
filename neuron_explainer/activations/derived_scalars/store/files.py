"""A DerivedScalarStore on disk: one safetensors file. Its header holds everything but the tensors, as JSON."""

import json
import os
from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from neuron_explainer.activations.derived_scalars.store.shapes import Tensors
from neuron_explainer.errors import MalformedStoreError, MissingFileError, shown
from neuron_explainer.models.devices import DeviceGiven, as_device
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, values_of
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import path_text
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.wording import in_a_sentence

_FORMAT = "neuron_explainer derived scalars 1"
_MOST_EXPERTS = 2**16


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[str]
    summed: list[str]
    token_ids: list[int] | None = None
    loss: float | None = None
    traced_activation: float | None = None
    model_name: str | None = None
    n_beginning: int = 0


def write_store(path: str | os.PathLike[str], tensors: Tensors, metadata: Mapping[str, Any]) -> None:
    """Write the tensors and `metadata` (JSON values) to a file, which is replaced as a whole or left as it was.

    Raises:
        UnsupportedLocationError: `path` is neither a text nor a path object.
    """
    destination = path_text(path)
    named: dict[str, Tensor] = {}
    memory: set[int] = set()
    for (dst, pass_type), by_layer in tensors.items():
        for layer_index, tensor in by_layer.items():
            name = f"{dst.value}|{pass_type.value}|{'none' if layer_index is None else layer_index}"
            parts = {name: values_of(tensor)}
            if isinstance(tensor, RoutedTensor):
                parts[f"{name}|{tensor.n_experts}"] = tensor.experts
            for part_name, part in parts.items():
                content = part.detach().cpu().contiguous()
                if content.data_ptr() in memory:  # safetensors refuses tensors that share memory
                    content = content.clone()
                memory.add(content.data_ptr())
                named[part_name] = content
    # safetensors sorts tensors by name; this keeps the order in which they were derived
    header = {"format": _FORMAT, "metadata": json.dumps(metadata), "order": json.dumps(list(named))}
    write_bytes_atomically(destination, save(named, metadata=header))


def read_store(path: str | os.PathLike[str], device: DeviceGiven) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_store` wrote.

    Raises:
        MissingFileError: the file does not exist.
        MalformedStoreError: it is another kind of file, or is damaged.
        InvalidRequestError: `device` is not a device, or is not available here.
        UnsupportedLocationError: `path` is neither a text nor a path object.
    """
    source = path_text(path)
    if not os.path.isfile(source):
        raise MissingFileError(source)
    on_device = str(as_device(device))
    tensors: dict[tuple[DerivedScalarType, PassType], dict[int | None, Neurons]] = {}
    try:
        with safe_open(source, framework="pt", device=on_device) as file:
            header = file.metadata() or {}
            if header.get("format") != _FORMAT:
                raise MalformedStoreError(source, f"its format is {shown(header.get('format'))}, not {_FORMAT!r}")
            metadata = msgspec.convert(json.loads(header["metadata"]), _Metadata)
            for name in msgspec.convert(json.loads(header["order"]), list[str]):
                dst, pass_type, layer, *n_experts = name.split("|")
                by_layer = tensors.setdefault((derived_scalar_type_of(dst), PassType(pass_type)), {})
                layer_index, content = None if layer == "none" else int(layer), file.get_tensor(name)
                # The chosen experts come after the numbers of their neurons.
                by_layer[layer_index] = _routed(by_layer[layer_index], content, *n_experts) if n_experts else content
    except (SafetensorError, ValueError, KeyError, OSError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, MalformedStoreError):
            raise
        raise MalformedStoreError(source, in_a_sentence(error)) from error
    return tensors, msgspec.structs.asdict(metadata)


def _routed(values: Neurons, experts: Tensor, n_experts: str) -> RoutedTensor:
    """The numbers of the chosen experts' neurons.

    Raises:
        ValueError: they do not belong together.
    """
    fits = (
        isinstance(values, Tensor)
        and experts.dtype == torch.int64
        and values.ndim > experts.ndim > 0
        and values.shape[: experts.ndim] == experts.shape
        and 0 < int(n_experts) <= _MOST_EXPERTS
        and (experts.numel() == 0 or bool(((experts >= 0) & (experts < int(n_experts))).all()))
    )
    if not fits or not isinstance(values, Tensor):
        raise ValueError(f"experts of the shape {tuple(experts.shape)} do not belong to these numbers")
    return RoutedTensor(values, experts, int(n_experts))
