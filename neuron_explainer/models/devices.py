"""Devices and dtypes, from what a caller gives."""

import torch

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, number_ranges

_DTYPE_BY_NAME = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def get_default_device() -> torch.device:
    """The current CUDA device if available, else the CPU. MPS is used only if it is named."""
    return as_device("cuda" if torch.cuda.is_available() else "cpu")


def as_device(device: torch.device | str | None) -> torch.device:
    """A device, from a device or its name. None means the default; "cuda" means the current CUDA device, numbered.

    Raises:
        InvalidRequestError: it is not a device, or is not available here.

    >>> as_device("cpu")
    device(type='cpu')
    """
    if device is None:
        return get_default_device()
    try:
        found = torch.device(device)
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


def as_dtype(dtype: torch.dtype | str | None, default: torch.dtype = torch.float32) -> torch.dtype:
    """A floating-point dtype, from a dtype or its name; `default` for None.

    Raises:
        UnknownNameError: models do not run in this dtype.

    >>> as_dtype("bfloat16")
    torch.bfloat16
    """
    if dtype is None:
        return default
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPE_BY_NAME:
        raise UnknownNameError("dtype", name, _DTYPE_BY_NAME)
    return _DTYPE_BY_NAME[name]
