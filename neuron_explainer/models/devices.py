"""Devices and dtypes, from what a caller gives."""

import functools
from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np
import torch

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, number_ranges
from neuron_explainer.vocabulary.checks import whole_number

_DTYPE_BY_NAME = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_DTYPE_BY_SHORT_NAME = {
    "fp64": torch.float64,
    "double": torch.float64,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "half": torch.float16,
    "bf16": torch.bfloat16,
}

DeviceGiven = torch.device | str | SupportsIndex
"""A device, its name, or the number of a CUDA device."""

DtypeGiven = torch.dtype | str | np.dtype[Any] | type[np.generic]
"""A dtype of torch or NumPy, or its name."""


def get_default_device() -> torch.device:
    """The current CUDA device if available, else the CPU. MPS is used only if it is named."""
    return as_device("cuda" if torch.cuda.is_available() else "cpu")


def as_device(device: DeviceGiven | None) -> torch.device:
    """A device, from a device, its name in any case, or the number of a CUDA device.

    None means the default; "cuda" means the current CUDA device, numbered.

    Raises:
        InvalidRequestError: it is not a device, or is not available here.

    >>> as_device("cpu")
    device(type='cpu')
    """
    if device is None:
        return get_default_device()
    number = whole_number(device)
    asked = device.lower() if isinstance(device, str) else device if number is None else f"cuda:{number}"
    try:
        if not isinstance(asked, str | torch.device):
            raise TypeError
        found = torch.device(asked)
    except (RuntimeError, TypeError) as error:
        raise InvalidRequestError(f"{device!r} is not a device. Give 'cpu', 'cuda', 'cuda:0' or 'mps'.") from error
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise InvalidRequestError("CUDA is not available (torch.cuda.is_available() is False). Use 'cpu'.")
        if found.index is not None and found.index >= torch.cuda.device_count():
            raise InvalidRequestError(
                f"{found} does not exist. CUDA devices: {number_ranges(range(torch.cuda.device_count()))}."
            )
        # Tensors name their device with its number, and devices are compared.
        return torch.device("cuda", torch.cuda.current_device() if found.index is None else found.index)
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidRequestError("MPS is not available. Use 'cpu'.")
    return found


def as_dtype(dtype: DtypeGiven | None, default: torch.dtype = torch.float32) -> torch.dtype:
    """A floating-point dtype, from one of torch or NumPy, or its name or short name in any case; `default` for None.

    Raises:
        UnknownNameError: models do not run in this dtype.
        InvalidRequestError: it is neither a dtype nor a name.

    >>> as_dtype("bfloat16")
    torch.bfloat16
    """
    if dtype is None:
        return default
    if isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, np.generic)):
        name = np.dtype(dtype).name
    elif isinstance(dtype, torch.dtype | str):
        name = str(dtype).lower().removeprefix("torch.")
    else:
        # Python's float is 32 bits to torch and 64 to NumPy, so it is refused too.
        raise InvalidRequestError(f"{dtype!r} is not a dtype. Give one of: {', '.join(_DTYPE_BY_NAME)}.")
    found = _DTYPE_BY_NAME.get(name) or _DTYPE_BY_SHORT_NAME.get(name)
    if found is None:
        raise UnknownNameError("dtype", name, _DTYPE_BY_NAME)
    return found


def name_of_dtype(dtype: torch.dtype) -> str:
    """Its name without the module's.

    >>> name_of_dtype(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def common_dtype(tensors: Iterable[torch.Tensor]) -> torch.dtype | None:
    """The narrowest floating-point dtype that holds the numbers of all these tensors; None if there are none.

    >>> common_dtype([torch.zeros(1, dtype=torch.float16), torch.zeros(1, dtype=torch.bfloat16)])
    torch.float32
    """
    dtypes = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    return functools.reduce(torch.promote_types, dtypes) if dtypes else None


def is_plain_float(tensor: torch.Tensor) -> bool:
    """Whether the numbers are of floating point, with 16 bits or more."""
    return tensor.is_floating_point() and tensor.dtype.itemsize > 1


def differentiable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor; a copy of one that was made in inference mode, which can take part in no backward pass."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()
