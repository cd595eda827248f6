"""Small GGUF files of float32 tensors; `gguf_file` has the layout."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.storage.atomic import replaced_atomically

_VERSION, _ALIGNMENT = 3, 32
_INT32, _STRING, _TENSOR_OF_FLOAT32 = 5, 8, 0


def write_gguf(
    path: str | os.PathLike[str], metadata: Mapping[str, str | int], tensors: Mapping[str, Float[Tensor, ...]]
) -> None:
    """Write a GGUF file, whole or not at all.

    Args:
        path: the file.
        metadata: texts, and whole numbers of 32 bits, by key.
        tensors: by name; written as float32.

    Raises:
        UnsupportedLocationError: `path` is not a local path.
        OSError: the system refuses to write there.
    """
    arrays = {name: tensor.detach().to("cpu", torch.float32).contiguous().numpy() for name, tensor in tensors.items()}
    head = [b"GGUF", struct.pack("<IQQ", _VERSION, len(arrays), len(metadata))]
    for key, value in metadata.items():
        head.append(_string(key))
        is_text = isinstance(value, str)
        head.append(struct.pack("<I", _STRING if is_text else _INT32))
        head.append(_string(value) if isinstance(value, str) else struct.pack("<i", value))
    data: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        sizes = tuple(reversed(array.shape))
        head.append(_string(name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes))
        head.append(struct.pack("<IQ", _TENSOR_OF_FLOAT32, offset))
        data.append(_padded(array.astype("<f4", copy=False).tobytes()))
        offset += len(data[-1])
    with replaced_atomically(path) as temporary:
        temporary.write_bytes(_padded(b"".join(head)) + b"".join(data))


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _ALIGNMENT)
