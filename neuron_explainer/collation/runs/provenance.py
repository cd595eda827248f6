"""What a dataset was made from: enough to tell whether another run would make the same dataset."""

import hashlib
import platform
from typing import Any

import numpy as np
import torch

from neuron_explainer._version import __version__
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.layers.unfilled import parameter_names
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.transformer import Transformer

_SAMPLES_A_TENSOR = 256


def model_identity(model_context: ModelContext) -> dict[str, Any]:
    """What distinguishes one model from another: name, type, dtype, weights and tokenizer."""
    model = model_context.get_or_create_model()
    return {
        "name": model_context.model_name,
        "model_type": model.config.model_type,
        "dtype": name_of_dtype(model.dtype),
        "weights_sha256": weights_fingerprint(model),
        "tokenizer_sha256": model_context.tokenizer.fingerprint,
    }


def weights_fingerprint(model: Transformer) -> str:
    """SHA-256 of every weight's name, shape and 256 of its numbers, evenly spread, as float64.

    Training changes nearly every number, so this distinguishes models of the same shape, and is quick for any model.
    """
    digest = hashlib.sha256()
    for name in sorted(parameter_names(model)):
        weight = model.get_parameter(name)
        flat = weight.detach().reshape(-1)
        step = max(1, len(flat) // _SAMPLES_A_TENSOR)
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(flat[::step].to(device="cpu", dtype=torch.float64).numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions of the packages that the numbers depend on."""
    return {
        "neuron_explainer": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
