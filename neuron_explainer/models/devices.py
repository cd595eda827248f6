"""Which device and which number type are meant."""

import torch

from neuron_explainer.errors import InvalidRequestError, UnknownNameError

_DTYPE_BY_NAME = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def get_default_device() -> torch.device:
    """The current CUDA device if there is one, else the CPU. MPS is used only when it is asked for by name."""
    return as_device("cuda" if torch.cuda.is_available() else "cpu")


def as_device(device: torch.device | str | None) -> torch.device:
    """The device that is meant: the default one for None; "cuda" means the current CUDA device, with its number.

    Raises:
        InvalidRequestError: there is no such device, or it cannot be used here.
    """
    if device is None:
        return get_default_device()
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidRequestError(f"{device!r} is no device; give 'cpu', 'cuda', 'cuda:0' or 'mps'.") from error
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise InvalidRequestError("There is no CUDA device here (torch.cuda.is_available() is False); use 'cpu'.")
        if found.index is not None and found.index >= torch.cuda.device_count():
            raise InvalidRequestError(f"There is no {found}: there are {torch.cuda.device_count()} CUDA devices.")
        # Tensors always name their device by number, and devices are compared.
        return torch.device("cuda", torch.cuda.current_device() if found.index is None else found.index)
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidRequestError("There is no MPS device here; use 'cpu'.")
    return found


def as_dtype(dtype: torch.dtype | str | None, default: torch.dtype = torch.float32) -> torch.dtype:
    """The floating-point type that is meant, by itself or by name.

    Raises:
        UnknownNameError: it is none of those that models run in.
    """
    if dtype is None:
        return default
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPE_BY_NAME:
        raise UnknownNameError("dtype", name, _DTYPE_BY_NAME)
    return _DTYPE_BY_NAME[name]
