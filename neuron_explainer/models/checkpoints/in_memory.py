"""A `transformers` model that is in memory already: the same weights, in this library's transformer."""

from collections.abc import Mapping
from typing import Any

import torch

from neuron_explainer.errors import UnsupportedCheckpointError
from neuron_explainer.models.checkpoints.checkpoint import naming_the_file
from neuron_explainer.models.devices import as_device, as_dtype
from neuron_explainer.models.tensor_files.raw_tensors import check_finite
from neuron_explainer.models.transformer import Transformer


def transformer_from_module(
    module: torch.nn.Module,
    config: Mapping[str, Any] | None = None,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
) -> tuple[Mapping[str, Any], Transformer]:
    """The config of a transformers model, and a Transformer of its weights.

    The weights are the same memory, so what changes the one changes the other; only where `device` or `dtype` ask for
    something else they are copies.

    Args:
        module: a causal language model of transformers.
        config: in place of the model's own.
        device: where the weights are to be; None leaves them where they are.
        dtype: what they are to be; None leaves them as they are.

    Raises:
        CheckpointError: the family is not supported, weights are missing, unexpected or not finite, or they are
            quantised or spread over several devices.
    """
    hf_config = (
        config if config is not None else config_of(getattr(module, "config", None), f"A {type(module).__name__}")
    )
    name = type(module).__name__
    tensors = {key: tensor for key, tensor in module.state_dict().items() if tensor.is_floating_point()}
    if not tensors:
        raise UnsupportedCheckpointError(f"{name} has no floating-point weights.")
    for kind, found in (
        ("devices", {tensor.device for tensor in tensors.values()} if device is None else set()),
        ("dtypes", {tensor.dtype for tensor in tensors.values()} if dtype is None else set()),
    ):
        if len(found) > 1:
            raise UnsupportedCheckpointError(
                f"{name} has weights of several {kind} ({', '.join(sorted(map(str, found)))}); pass `{kind[:-1]}=` one."
            )
    for key, tensor in tensors.items():
        if tensor.is_meta:
            raise UnsupportedCheckpointError(
                f"{name}: {key} is on the meta device, that is, it has no numbers.", tensor=key
            )
        check_finite(tensor, file=f"{name} in memory", name=key)
    with naming_the_file(f"{name} in memory"):
        transformer = Transformer.from_hf_config_and_tensors(
            hf_config,
            tensors,
            device=None if device is None else as_device(device),
            dtype=None if dtype is None else as_dtype(dtype),
        )
    return hf_config, transformer


def config_of(config: Any, whose: str) -> Mapping[str, Any]:
    """A transformers config as the dict that its `config.json` would be.

    Args:
        config: the config.
        whose: what it is the config of, for an error.

    Raises:
        UnsupportedCheckpointError: it is no such config.
    """
    to_dict = getattr(config, "to_dict", None)
    if to_dict is None:
        raise UnsupportedCheckpointError(
            f"{whose} has no transformers config, so what its weights mean is not known. Give a model of transformers, "
            "or pass `config=`: a dict like a config.json, or a transformers config."
        )
    entries: Mapping[str, Any] = to_dict()
    return entries
