"""A `transformers` model in memory: its weights in this library's transformer, shared."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from neuron_explainer.errors import UnsupportedCheckpointError
from neuron_explainer.models.checkpoints.checkpoint import naming_the_file
from neuron_explainer.models.checkpoints.quantised import refuse_quantised_tensors
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype
from neuron_explainer.models.offload.fitting import refuse_copies_that_do_not_fit
from neuron_explainer.models.tensor_files.raw_tensors import check_finite
from neuron_explainer.models.transformer import Transformer


def transformer_from_module(
    module: torch.nn.Module,
    config: Mapping[str, Any] | None = None,
    *,
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
    check_memory: bool = True,
) -> tuple[Mapping[str, Any], Transformer]:
    """The config of a transformers model, and a Transformer with its weights.

    Both models share the weights' memory: a change of one is a change of the other. Weights are copied only if `device`
    or `dtype` asks for another one.

    Args:
        module: a causal language model of transformers.
        config: used instead of the model's own.
        device: where the weights go; None leaves them where they are.
        dtype: the weights' dtype; None leaves it as it is.
        check_memory: refuse to make copies that do not fit into the memory.

    Raises:
        NotEnoughMemoryError: there is too little memory for the copies.
        CheckpointError: the family is not supported; weights are missing, unexpected, not finite or quantised; or they
            are on several devices.
    """
    name = type(module).__name__
    hf_config = (
        config
        if config is not None
        else config_entries(
            getattr(module, "config", None),
            f"{name} has no transformers config, so its family is unknown. Pass config:",
        )
    )
    state = {key: value for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    refuse_quantised_tensors({key: str(tensor.dtype) for key, tensor in state.items()}, hf_config, f"{name} in memory")
    tensors = {key: tensor for key, tensor in state.items() if tensor.is_floating_point()}
    if not tensors:
        raise UnsupportedCheckpointError(f"{name} has no floating-point weights.")
    for kind, found in (
        ("devices", {tensor.device for tensor in tensors.values()} if device is None else set()),
        ("dtypes", {tensor.dtype for tensor in tensors.values()} if dtype is None else set()),
    ):
        if len(found) > 1:
            raise UnsupportedCheckpointError(
                f"{name} has weights of several {kind} ({', '.join(sorted(map(str, found)))}). Pass `{kind[:-1]}=`."
            )
    for key, tensor in tensors.items():
        if tensor.is_meta:
            raise UnsupportedCheckpointError(f"{name}: {key} has no data (meta device).", tensor=key)
        check_finite(tensor, file=f"{name} in memory", name=key)
    to_device = None if device is None else as_device(device)
    to_dtype = None if dtype is None else as_dtype(dtype)
    if check_memory:
        _check_copies(name, tensors.values(), to_device, to_dtype)
    with naming_the_file(f"{name} in memory"):
        transformer = Transformer.from_hf_config_and_tensors(
            hf_config,
            tensors,
            device=to_device,
            dtype=to_dtype,
        )
    return hf_config, transformer


def _check_copies(
    name: str, tensors: Iterable[torch.Tensor], device: torch.device | None, dtype: torch.dtype | None
) -> None:
    """Refuse copies, for another device or dtype, that do not fit.

    Raises:
        NotEnoughMemoryError: they do not.
    """
    copied = {
        (tensor.data_ptr(), tensor.numel()): tensor
        for tensor in tensors
        if device not in (None, tensor.device) or dtype not in (None, tensor.dtype)
    }
    if copied:
        first = next(iter(copied.values()))
        refuse_copies_that_do_not_fit(
            name,
            sum(tensor.numel() for tensor in copied.values()),
            dtype=dtype or first.dtype,
            device=device or first.device,
        )


def config_entries(config: Any, problem: str) -> Mapping[str, Any]:
    """The entries of a transformers config, as in its `config.json`.

    Args:
        config: the config.
        problem: the beginning of an error.

    Raises:
        UnsupportedCheckpointError: it is not a transformers config.
    """
    to_dict = getattr(config, "to_dict", None)
    if to_dict is None:
        raise UnsupportedCheckpointError(
            f"{problem} a dict with the entries of a config.json, or a transformers config."
        )
    entries: Mapping[str, Any] = to_dict()
    return entries
