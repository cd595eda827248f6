"""A transformer whose weights stay in its checkpoint's files."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.families.fill_parameters import config_of_tensors, uses_of_tensors
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.offload.disk_weights import DiskWeights
from neuron_explainer.models.tensor_files.pickled_weights import PickledReader
from neuron_explainer.models.tensor_files.tensor_reader import TensorReader
from neuron_explainer.models.transformer import Transformer


def offloaded_transformer(
    hf_config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    reader: TensorReader,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> Transformer:
    """A model that reads each weight when it uses it.

    Args:
        hf_config: the checkpoint's config.
        tensors: the checkpoint's tensors, read when they are looked up; names and shapes were checked.
        reader: the same tensors.
        dtype: the dtype of weights and activations.
        device: where the model computes.

    Raises:
        CheckpointError: tensors are missing or unexpected.
        InvalidRequestError: the tensors are not in files on this machine, or are pickled.
    """
    if isinstance(reader, PickledReader):
        raise InvalidRequestError(
            f"{reader.where()} is pickled, and so is read as a whole; offload='disk' needs safetensors files. Load the "
            "model with transformers, and save it with save_pretrained; or leave offload out."
        )
    family, named_config = family_and_config(hf_config)
    config = config_of_tensors(family, named_config, tensors)
    sources = {
        parameter: (tensor_name, source)
        for tensor_name, uses in uses_of_tensors(family, config, tensors.keys()).items()
        for parameter, source in uses
    }
    model = Transformer(config)
    model.read_weights_from(DiskWeights(sources, reader, dtype=dtype, device=device))
    return model
