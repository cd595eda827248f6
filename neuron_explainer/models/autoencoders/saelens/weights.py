"""The tensors of a SAELens folder, each checked before it is used."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig

WEIGHTS_FILE = "sae_weights.safetensors"
Weights = dict[str, Tensor]


def read_saelens_weights(config: SaelensConfig) -> Weights:
    """The tensors in the folder, by name.

    Raises:
        AutoencoderFormatError: the file is missing or damaged.
    """
    path = Path(config.folder) / WEIGHTS_FILE
    return read_tensors(path, f"{path} cannot be read")


def read_tensors(path: Path, problem: str) -> Weights:
    """The tensors in a safetensors file, by name.

    Raises:
        AutoencoderFormatError: the file is missing or damaged; `problem` begins its message.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise AutoencoderFormatError(f"{problem}: {error}") from error


def take(weights: Weights, config: SaelensConfig, name: str, *shape: int) -> Tensor:
    """One tensor of the file, checked to have this shape.

    Raises:
        AutoencoderFormatError: the tensor is missing, has another shape, or is not of floating point with 16 bits or
            more.
    """
    if name not in weights:
        raise AutoencoderFormatError(
            f"{config.folder}: {config.architecture} needs the tensor {name!r}; the file has {sorted(weights)}."
        )
    tensor = weights[name]
    if not tensor.is_floating_point() or tensor.dtype.itemsize == 1:
        raise AutoencoderFormatError(
            f"{config.folder}: {name} is of dtype {str(tensor.dtype).removeprefix('torch.')}; it must be of floating "
            "point, with 16 bits or more."
        )
    if tuple(tensor.shape) != shape:
        raise AutoencoderFormatError(
            f"{config.folder}: {name} is {tuple(tensor.shape)}; with d_in {config.n_inputs} and d_sae "
            f"{config.n_latents} it must be {shape}."
        )
    return tensor
