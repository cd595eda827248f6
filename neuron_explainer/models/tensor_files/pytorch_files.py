"""Files that PyTorch saved, read without running code from them."""

import io
import os
import pickle
from typing import Any

import torch

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError
from neuron_explainer.storage.disk_cache import cache_folder
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.storage.reading import fetch_file, read_bytes

MOST_BYTES = 64 * 2**30
"""The largest size of a file of weights, in bytes."""


def read_pytorch_file(location: str | os.PathLike[str]) -> Any:
    """The content of a `.pt` file, on the CPU: tensors, numbers, strings and containers of them.

    Args:
        location: a path, or an address, which is downloaded to the disk cache unless that is off.

    Raises:
        UnsupportedCheckpointError: the file holds other objects, and reading it could run code.
        MalformedCheckpointError: the file is damaged or not a PyTorch file.
        MissingFileError: the file does not exist.
        DownloadError: the address could not be read.
    """
    name = without_secrets(location)
    # Without a disk cache, a downloaded file is kept in memory.
    in_memory = is_url(location) and cache_folder() is None
    file = io.BytesIO(read_bytes(location, MOST_BYTES)) if in_memory else fetch_file(location, MOST_BYTES)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsupportedCheckpointError(
            f"{name} holds more than tensors, numbers and strings. It is not read, because that could run code.",
            file=name,
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise MalformedCheckpointError(f"{name} is damaged or not a PyTorch file: {error!s:.200}", file=name) from error
