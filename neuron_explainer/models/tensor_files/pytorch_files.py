"""Files that PyTorch saved, read without running code from them."""

import io
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError, shown
from neuron_explainer.storage.disk_cache import cache_folder
from neuron_explainer.storage.local import opened_file
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.storage.reading import fetch_file, read_bytes

MOST_BYTES = 64 * 2**30
"""The largest size of a file of weights, in bytes."""

_MOST_UNPACKED = 4
"""How many times its own size a file may unpack to. PyTorch does not compress; whoever packed it anew may have."""


def read_pytorch_file(location: str | os.PathLike[str]) -> Any:
    """The content of a `.pt` file, on the CPU: plain tensors, numbers, strings and containers of them.

    Args:
        location: a path, or an address, which is downloaded to the disk cache unless that is off.

    Raises:
        UnsupportedCheckpointError: the file holds other objects, and reading it could run code; or tensors that are not
            plain: sparse, nested, quantised, without storage, or of 8-bit floating point.
        MalformedCheckpointError: the file is damaged or not a PyTorch file, or unpacks to far more than its own size.
        MissingFileError: the file does not exist.
        DownloadError: the address could not be read.
    """
    name = without_secrets(location)
    # Without a disk cache, a downloaded file is kept in memory.
    in_memory = is_url(location) and cache_folder() is None
    file: io.BytesIO | Path
    if in_memory:
        file = io.BytesIO(read_bytes(location, MOST_BYTES))
    else:
        file = fetch_file(location, MOST_BYTES)
        with opened_file(file):  # which refuses pipes and devices: opening one could wait for ever
            pass
    check_unpacked_size(file, name)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsupportedCheckpointError(
            f"{name} holds more than tensors, numbers and strings. It is not read, because that could run code.",
            file=name,
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle makes its reader raise errors of almost any type
        raise MalformedCheckpointError(
            f"{name} is damaged or not a PyTorch file: {type(error).__name__}: {error!s:.200}", file=name
        ) from error
    for key, tensor in _tensors_in(content):
        check_plain(tensor, key, name)
    return content


def check_unpacked_size(file: io.BytesIO | Path, name: str) -> None:
    """Refuse a file that unpacks to far more than its own size, before anything is unpacked.

    Raises:
        MalformedCheckpointError: it does.
    """
    size = len(file.getbuffer()) if isinstance(file, io.BytesIO) else file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception:  # not an archive, or a damaged one: PyTorch's own reader says what is wrong
        return
    finally:
        if isinstance(file, io.BytesIO):
            file.seek(0)
    if unpacked > _MOST_UNPACKED * size:
        raise MalformedCheckpointError(
            f"{name} has {size} bytes and unpacks to {unpacked}. Files of weights are not compressed, so this "
            "one is not read.",
            file=name,
        )


def _tensors_in(content: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested containers, each with the key it is under; containers may hold themselves."""
    waiting: list[tuple[str, Any]] = [("", content)]
    seen: set[int] = set()
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Tensor):
            yield key, value
        elif isinstance(value, Mapping | list | tuple | set | frozenset) and id(value) not in seen:
            seen.add(id(value))
            pairs = value.items() if isinstance(value, Mapping) else ((key, each) for each in value)
            waiting += [(inner if isinstance(inner, str) else key, each) for inner, each in pairs]


def check_plain(tensor: Tensor, key: str, name: str) -> None:
    """Refuse a tensor whose numbers are not all stored one by one.

    Raises:
        UnsupportedCheckpointError: it is of another kind.
        MalformedCheckpointError: its shape claims more numbers than are stored.
    """
    kind = None
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        kind = f"a {type(tensor).__name__}"
    elif tensor.layout is not torch.strided:
        kind = f"of layout {tensor.layout}"
    elif tensor.is_nested or tensor.is_quantized:
        kind = "nested" if tensor.is_nested else "quantised"
    elif tensor.is_meta:
        kind = "on the device meta, without numbers"
    elif tensor.is_floating_point() and tensor.dtype.itemsize == 1:
        kind = f"of dtype {tensor.dtype}"
    if kind is not None:
        raise UnsupportedCheckpointError(
            f"{name}: tensor {shown(key)} is {kind}. Weights must be plain tensors, of floating point with 16 bits or "
            "more.",
            file=name,
            tensor=key,
        )
    if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        raise MalformedCheckpointError(
            f"{name}: tensor {shown(key)} has the shape {tuple(tensor.shape)}, but the file stores "
            f"{tensor.untyped_storage().nbytes()} bytes of it.",
            file=name,
            tensor=key,
        )
