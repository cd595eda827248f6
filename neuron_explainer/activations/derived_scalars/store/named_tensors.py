"""Tensors by name in one safetensors file. Its header holds everything but the tensors, as JSON."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from neuron_explainer.errors import MalformedStoreError, MissingFileError, shown
from neuron_explainer.models.devices import DeviceGiven, as_device
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, values_of
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import path_text
from neuron_explainer.wording import in_a_sentence

T = TypeVar("T")

_MOST_EXPERTS = 2**16
_MOST_NEURONS = 2**22  # of all experts of a layer; the largest models that are known have 2**20


@dataclass(frozen=True)
class FileKind(Generic[T]):
    """A kind of file.

    Attributes:
        format: what its header says that it is.
        name: what messages call it.
        metadata: the type of what it holds beside tensors.
    """

    format: str
    name: str
    metadata: type[T]

    @contextmanager
    def reading(self, source: str) -> Iterator[None]:
        """Within this context, what is wrong with the content of a file is a MalformedStoreError."""
        try:
            yield
        except MalformedStoreError:
            raise
        except (
            SafetensorError,
            ValueError,
            KeyError,
            OSError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise MalformedStoreError(source, in_a_sentence(error), self.name) from error


def write_named(
    path: str | os.PathLike[str], kind: FileKind[Any], tensors: Mapping[str, Neurons], metadata: Mapping[str, Any]
) -> None:
    """Write the tensors and `metadata` (JSON values) to a file, which is replaced as a whole or left as it was.

    Raises:
        UnsupportedLocationError: `path` is neither a text nor a path object.
    """
    destination = path_text(path)
    named: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        parts = {name: values_of(tensor)}
        if isinstance(tensor, RoutedTensor):
            parts[f"{name}|{tensor.n_experts}"] = tensor.experts
        for part_name, part in parts.items():
            content = part.detach().cpu().contiguous()
            if content.data_ptr() in memory:  # safetensors refuses tensors that share memory
                content = content.clone()
            memory.add(content.data_ptr())
            named[part_name] = content
    # safetensors sorts tensors by name; this keeps their order
    header = {"format": kind.format, "metadata": json.dumps(metadata), "order": json.dumps(list(named))}
    write_bytes_atomically(destination, save(named, metadata=header))


def read_named(
    path: str | os.PathLike[str], kind: FileKind[T], device: DeviceGiven
) -> tuple[str, dict[str, Neurons], T]:
    """Read what `write_named` wrote: the path as text, the tensors by name, and what there is beside them.

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
    tensors: dict[str, Neurons] = {}
    with kind.reading(source), safe_open(source, framework="pt", device=on_device) as file:
        header = file.metadata() or {}
        if header.get("format") != kind.format:
            raise ValueError(f"its format is {shown(header.get('format'))}, not {kind.format!r}")
        metadata = msgspec.convert(json.loads(header["metadata"]), kind.metadata)
        for name in msgspec.convert(json.loads(header["order"]), list[str]):
            content = file.get_tensor(name)
            values_name, _, n_experts = name.rpartition("|")
            if values_name in tensors:  # the chosen experts come after the numbers of their neurons
                tensors[values_name] = _routed(tensors[values_name], content, n_experts)
            else:
                tensors[name] = content
    return source, tensors, metadata


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
        and int(n_experts) * values.shape[experts.ndim] <= _MOST_NEURONS
        and (experts.numel() == 0 or bool(((experts >= 0) & (experts < int(n_experts))).all()))
    )
    if not fits or not isinstance(values, Tensor):
        raise ValueError(f"experts of the shape {tuple(experts.shape)} do not belong to these numbers")
    return RoutedTensor(values, experts, int(n_experts))
