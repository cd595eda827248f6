"""Whether a model fits into the memory: asked before any weight is read, or downloaded."""

import torch

from neuron_explainer.errors import NotEnoughMemoryError
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.offload.disk_weights import group_of
from neuron_explainer.models.offload.free_memory import free_bytes
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.wording import in_units

_CPU = torch.device("cpu")
_NARROWER = (torch.float32, torch.bfloat16)


def refuse_what_does_not_fit(
    name: str,
    config: TransformerConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
    is_offloaded: bool = False,
) -> None:
    """Refuse a model whose weights are larger than the memory that is free.

    Args:
        name: what the model is called.
        config: the model's sizes.
        dtype: the dtype of its weights.
        device: where they go.
        is_offloaded: the weights stay on disk, so that only the largest layer must fit.

    Raises:
        NotEnoughMemoryError: there is not enough memory; it says how much there is, and what would fit.
    """
    free = free_bytes(device)
    if free is None:
        return
    in_all, at_once = numbers_of(config)
    n_numbers = at_once if is_offloaded else in_all
    if n_numbers * dtype.itemsize > free:
        what = f"the largest layer of {name}" if is_offloaded else name
        raise _refusal(what, n_numbers, None if is_offloaded else at_once, dtype, device, free)


def refuse_copies_that_do_not_fit(name: str, n_numbers: int, *, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse to copy weights that are in memory already, if there is too little memory for the copies.

    Args:
        name: what the model is called.
        n_numbers: how many numbers would be copied.
        dtype: the dtype of the copies.
        device: where they go.

    Raises:
        NotEnoughMemoryError: there is not enough memory.
    """
    free = free_bytes(device)
    if free is not None and n_numbers * dtype.itemsize > free:
        raise _refusal(f"a copy of {name}", n_numbers, None, dtype, device, free)


def numbers_of(config: TransformerConfig) -> tuple[int, int]:
    """How many numbers the weights of a model are, and how many those of its largest layer (or embedding) are.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> numbers_of(model.config)[0] == sum(weight.numel() for weight in model.get_or_create_model().parameters())
    True
    """
    by_group: dict[str, int] = {}
    for name, unfilled in Transformer(config).named_parameters():
        by_group[group_of(name)] = by_group.get(group_of(name), 0) + unfilled.numel()
    return sum(by_group.values()), max(by_group.values())


def _refusal(
    what: str, n_numbers: int, at_once: int | None, dtype: torch.dtype, device: torch.device, free: int
) -> NotEnoughMemoryError:
    """The error. `at_once` is how many numbers an offloaded model holds at a time; None if offloading is no way out."""
    needed = n_numbers * dtype.itemsize
    ways_out = [
        f"dtype='{name_of_dtype(narrower)}' ({in_units(n_numbers * narrower.itemsize)})"
        for narrower in _NARROWER
        if narrower.itemsize < dtype.itemsize and n_numbers * narrower.itemsize <= free
    ]
    free_of_cpu = None if device.type == "cpu" else free_bytes(_CPU)
    if free_of_cpu is not None and needed <= free_of_cpu:
        ways_out.append(f"device='cpu' ({in_units(free_of_cpu)} free)")
    if at_once is not None and at_once * dtype.itemsize <= free:
        ways_out.append(
            f"offload='disk' (reads a layer at a time, {in_units(at_once * dtype.itemsize)} at most; slower)"
        )
    if not ways_out and at_once is not None and at_once * torch.bfloat16.itemsize <= free:
        ways_out.append("dtype='bfloat16' and offload='disk'")
    advice = f"Load it with {' or with '.join(ways_out)}." if ways_out else "Choose a smaller model."
    return NotEnoughMemoryError(
        f"{what} does not fit: its weights take {in_units(needed)} in {name_of_dtype(dtype)} ({needed:,} bytes), and "
        f"{device} has {in_units(free)} free ({free:,} bytes). {advice} If that count is wrong, "
        "load_model(…, check_memory=False) loads it all the same.",
        needed,
        free,
    )
