"""Gemma Scope: JumpReLU autoencoders and transcoders of Gemma 2, each an archive of NumPy arrays, `params.npz`.

What they are of is said by the names of the repository and the folder alone.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.published.files import PublishedFiles
from neuron_explainer.models.autoencoders.published.locating import Published
from neuron_explainer.models.autoencoders.published.stored_form import StoredForm
from neuron_explainer.models.autoencoders.saelens.architectures import build_autoencoder
from neuron_explainer.models.autoencoders.saelens.config import saelens_config
from neuron_explainer.models.autoencoders.saelens.weights import Weights
from neuron_explainer.models.tensor_files.pytorch_files import check_unpacked_size

PARAMETERS_FILE = "params.npz"
_REPOSITORY = re.compile(r".*gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)")
_HOOK_BY_PLACE = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}
_NAMES = {"w_enc": "W_enc", "w_dec": "W_dec"}


def is_of_gemma_scope(repo_id: str) -> bool:
    """Whether a repository has Gemma Scope's form."""
    return _REPOSITORY.fullmatch(repo_id) is not None


class GemmaScopeForm(StoredForm):
    """Gemma Scope's form."""

    def describe(self, files: PublishedFiles) -> AutoencoderOrigin:
        """What the names say; nothing is downloaded. The width is not among it."""
        settings = {**_settings(files.autoencoder), "d_in": 1, "d_sae": 1}
        return replace(saelens_config(settings, files.autoencoder.name).origin, n_inputs=None, n_outputs=None)

    def load(self, files: PublishedFiles, dtype: torch.dtype | None) -> tuple[Autoencoder, AutoencoderOrigin]:
        """See the base class."""
        name = files.autoencoder.name
        settings = _settings(files.autoencoder)
        tensors = {_NAMES.get(key, key): tensor for key, tensor in read_npz(files.required(PARAMETERS_FILE)).items()}
        shapes = [tuple(tensors[key].shape) for key in ("W_enc", "W_dec") if key in tensors]
        if [len(shape) for shape in shapes] != [2, 2]:
            raise AutoencoderFormatError(f"{name}: {PARAMETERS_FILE} has no matrices W_enc and W_dec.")
        (n_inputs, n_latents), (_, n_outputs) = shapes
        sizes = {"d_in": n_inputs, "d_sae": n_latents, "d_out": n_outputs}
        config = saelens_config({**settings, **sizes}, name)
        return build_autoencoder(config, Weights(tensors)), config.origin


def _settings(autoencoder: Published) -> dict[str, Any]:
    """The settings, as SAELens' `cfg.json` would have them, but for the sizes."""
    found = _REPOSITORY.fullmatch(autoencoder.repo_id)
    layer = re.search(r"layer_(\d+)", autoencoder.folder)
    if found is None or layer is None:
        raise AutoencoderFormatError(
            f"{autoencoder.name}: {autoencoder.repo_id}/{autoencoder.folder} does not name a layer's autoencoder, such "
            "as layer_5/width_16k/average_l0_68. (Those of the embedding are of no place here.)"
        )
    size, kind, place = found.groups()
    block = f"blocks.{layer[1]}"
    metadata = {"model_name": f"gemma-2-{size}{'-it' if kind == 'it' else ''}"}
    if place == "transcoders":
        architecture = "jumprelu_transcoder"
        metadata |= {"hook_name": f"{block}.ln2.hook_normalized", "hook_name_out": f"{block}.hook_mlp_out"}
    else:
        architecture = "jumprelu"
        metadata |= {"hook_name": f"{block}.{_HOOK_BY_PLACE[place]}"}
    return {"architecture": architecture, "apply_b_dec_to_input": False, "metadata": metadata}


def read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays in an archive of NumPy, as tensors by name.

    Raises:
        AutoencoderFormatError: it is damaged, or holds something that is not an array of numbers.
        MalformedCheckpointError: it unpacks to far more than its own size.
    """
    check_unpacked_size(path, str(path))
    try:
        with np.load(path, allow_pickle=False) as arrays:  # which refuses what could run code
            return {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arrays.files}
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive makes its reader raise errors of almost any type
        raise AutoencoderFormatError(
            f"{path} is damaged or not an archive of NumPy arrays: {type(error).__name__}: {error!s:.200}"
        ) from error
