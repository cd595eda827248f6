"""What tells a dataset or a model from another: digests, for work that goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.packed.dataset import is_packed_dataset
from neuron_explainer.activations.packed.layout import (
    INFO_FILE_NAME,
    JSON_INFO_FILE_NAME,
    TOKENS_FILE_NAME,
    layer_file_name,
)
from neuron_explainer.components.component import Component
from neuron_explainer.storage.locations import is_url

_NUMBERS_OF_TENSOR = 1_000


def digest_of_dataset(component: Component, layers: Mapping[int, Sequence[int]]) -> str | None:
    """A digest of the records of components; None without a dataset, or of one at an address.

    Args:
        component: one of them.
        layers: their numbers, by layer.
    """
    if component.at_hand.dataset is None:
        return None
    path = resolve_neuron_dataset(component.at_hand.dataset, component.dst)
    if is_url(path):
        return None
    folder, digest = Path(path), hashlib.sha256()
    is_packed = is_packed_dataset(path)
    of_packed = (INFO_FILE_NAME, TOKENS_FILE_NAME, *(layer_file_name(layer) for layer in layers))
    for name in of_packed if is_packed else (JSON_INFO_FILE_NAME,):  # which says what a dataset was made of
        if (folder / name).is_file():
            with open(folder / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    if not is_packed:
        add_files(digest, folder, layers, ".json")
    return digest.hexdigest()


def add_files(digest: Any, folder: Path, layers: Mapping[int, Sequence[int]], suffix: str) -> None:
    """Files of one component each are many and large; their sizes and times tell enough."""
    for layer, several in layers.items():
        for index in several:
            file = folder / str(layer) / f"{index}{suffix}"
            if file.is_file():
                status = file.stat()
                digest.update(f"{layer} {index} {status.st_size} {status.st_mtime_ns}\n".encode())


def digest_of_model(component: Component) -> str | None:
    """A digest that tells a component's model from another; None without a model."""
    if not component.at_hand.has_model:
        return None
    config = component.at_hand.config("digest")
    model = component.transformer("digest")
    digest = hashlib.sha256(model.unembedding_weight[:64].detach().float().cpu().numpy().tobytes())
    _add_tensors(digest, model.state_dict())
    autoencoders = ""
    if component.kind is NodeKind.LATENT:
        several = component.autoencoders_of_latents("digest")
        autoencoders = f"{several.dst.value} {list(several.layer_indices)}"
        for layer in several.layer_indices:
            fields = vars(several.get_autoencoder(layer))
            _add_tensors(digest, {name: value for name, value in fields.items() if isinstance(value, Tensor)})
    said = json.dumps([config.get_model_context().model_name, str(model.config), autoencoders])
    digest.update(said.encode())
    return digest.hexdigest()


def _add_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:
    """Tensors by their names, shapes and a thousand numbers of each, which tell other weights."""
    for name, tensor in tensors.items():
        flat = tensor.detach().reshape(-1)
        if flat.is_meta:  # it stays on the disk
            continue
        some = flat[:: max(1, flat.numel() // _NUMBERS_OF_TENSOR)]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(some.to("cpu", torch.float64).numpy().tobytes())
