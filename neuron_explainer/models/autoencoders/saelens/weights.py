"""The tensors of an autoencoder of SAELens, each checked before it is used."""

from safetensors.torch import load_file
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, choices_sentence, nearest_first
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig
from neuron_explainer.storage.local import opened_file

WEIGHTS_FILE = "sae_weights.safetensors"
Weights = dict[str, Tensor]


def read_saelens_weights(config: SaelensConfig) -> Weights:
    """The tensors in the folder, by name.

    Raises:
        AutoencoderFormatError: the file is missing or damaged.
    """
    return read_tensors(config, WEIGHTS_FILE, "the weights are needed")


def read_tensors(config: SaelensConfig, name: str, what: str) -> Weights:
    """The tensors in a safetensors file of the folder, by name.

    Args:
        config: the folder's config.
        name: the file's name.
        what: what it holds, as the subject of an error's sentence.

    Raises:
        AutoencoderFormatError: the file is missing or damaged, or the config is of an object in memory.
    """
    if config.folder is None:
        raise AutoencoderFormatError(
            f"{config.source}: {what}, but the object does not hold {name}. Save it to a folder, and load that."
        )
    path = config.folder / name
    try:
        with opened_file(path):
            return load_file(path)
    except MemoryError:
        raise
    except Exception as error:  # the format's reader raises errors of many types for damaged files
        raise AutoencoderFormatError(f"{config.source}: {what} cannot be read from {name}: {error!s:.300}") from error


def take(weights: Weights, config: SaelensConfig, name: str, *shape: int) -> Tensor:
    """One tensor of the file, checked to have this shape.

    Raises:
        AutoencoderFormatError: the tensor is missing, has another shape, or is not of floating point with 16 bits or
            more.
    """
    if name not in weights:
        raise AutoencoderFormatError(
            f"{config.source}: {config.architecture} needs the tensor {name!r}, which is missing. "
            f"{choices_sentence(nearest_first(name, weights))}"
        )
    tensor = weights[name]
    if not tensor.is_floating_point() or tensor.dtype.itemsize == 1:
        raise AutoencoderFormatError(
            f"{config.source}: {name} is of dtype {str(tensor.dtype).removeprefix('torch.')}; it must be of floating "
            "point, with 16 bits or more."
        )
    if tuple(tensor.shape) != shape:
        raise AutoencoderFormatError(
            f"{config.source}: {name} is {tuple(tensor.shape)}; with d_in {config.n_inputs} and d_sae "
            f"{config.n_latents} it must be {shape}."
        )
    return tensor
