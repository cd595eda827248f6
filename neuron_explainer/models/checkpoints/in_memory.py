"""A `transformers` model in memory: its weights in this library's transformer, shared."""

from collections.abc import Mapping
from typing import Any

import torch

from neuron_explainer.errors import UnsupportedCheckpointError
from neuron_explainer.models.checkpoints.checkpoint import naming_the_file
from neuron_explainer.models.checkpoints.quantised import refuse_quantised_tensors
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype
from neuron_explainer.models.tensor_files.raw_tensors import check_finite
from neuron_explainer.models.transformer import Transformer


def transformer_from_module(
    module: torch.nn.Module,
    config: Mapping[str, Any] | None = None,
    *,
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
) -> tuple[Mapping[str, Any], Transformer]:
    """The config of a transformers model, and a Transformer with its weights.

    Both models share the weights' memory: a change of one is a change of the other. Weights are copied only if `device`
    or `dtype` asks for another one.

    Args:
        module: a causal language model of transformers.
        config: used instead of the model's own.
        device: where the weights go; None leaves them where they are.
        dtype: the weights' dtype; None leaves it as it is.

    Raises:
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
    with naming_the_file(f"{name} in memory"):
        transformer = Transformer.from_hf_config_and_tensors(
            hf_config,
            tensors,
            device=None if device is None else as_device(device),
            dtype=None if dtype is None else as_dtype(dtype),
        )
    return hf_config, transformer


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
