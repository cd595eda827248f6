"""The tensors of an autoencoder of SAELens, each checked before it is used."""

from collections.abc import Mapping

from safetensors.torch import load_file
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, choices_sentence, nearest_first
from neuron_explainer.models.autoencoders.saelens.config import CONFIG_FILE, SaelensConfig
from neuron_explainer.models.devices import common_dtype, differentiable, is_plain_float
from neuron_explainer.storage.local import opened_file

WEIGHTS_FILE = "sae_weights.safetensors"


class Weights(dict[str, Tensor]):
    """Tensors by name, all of one floating-point dtype, and the names of those that an autoencoder was built from."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        # A tensor that is not of floating point, or of 8 bits, is refused when it is taken. Single numbers have dtypes
        # of their own.
        arrays = {name for name, tensor in tensors.items() if is_plain_float(tensor) and tensor.ndim}
        dtype = common_dtype(tensors[name] for name in arrays)
        super().__init__(
            {name: differentiable(tensor.to(dtype)) if name in arrays else tensor for name, tensor in tensors.items()}
        )
        self.taken: set[str] = set()


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
        what: why it is needed, as the beginning of an error's sentence.

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
            return Weights(load_file(path))
    except MemoryError:
        raise
    except Exception as error:  # the format's reader raises errors of many types for damaged files
        raise AutoencoderFormatError(f"{config.source}: {what}, but {name} cannot be read: {error!s:.300}") from error


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
    weights.taken.add(name)
    tensor = weights[name]
    if not is_plain_float(tensor):
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


def refuse_what_is_left(weights: Weights, config: SaelensConfig) -> None:
    """Refuse tensors that the autoencoder was not built from: the config may be of another autoencoder.

    Raises:
        AutoencoderFormatError: there are such tensors.
    """
    left = sorted(weights.keys() - weights.taken)
    if left:
        raise AutoencoderFormatError(
            f"{config.source}: {config.architecture} has no tensor {', '.join(map(repr, left[:5]))}, but the weights "
            f"do ({len(left)} in all). {CONFIG_FILE} may be of another autoencoder."
        )


def refuse_finetuning_scale(weights: Weights, config: SaelensConfig) -> None:
    """Refuse a factor of each latent from finetuning. Ones change nothing, and SAELens used to save them: they go.

    Raises:
        AutoencoderFormatError: there are other factors, or the config says that there are.
    """
    found = [weights.pop(name) for name in ("scaling_factor", "finetuning_scaling_factor") if name in weights]
    are_ones = all(bool((factors == 1).all()) for factors in found)
    if not are_ones or (config.settings.get("finetuning_scaling_factor") and not found):
        raise AutoencoderFormatError(f"{config.source}: autoencoders with finetuning_scaling_factor are not supported.")
