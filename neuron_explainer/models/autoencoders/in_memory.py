"""Autoencoders that are in memory already: of SAELens, state dicts, and this library's own."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from typing_extensions import TypeIs

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.openai_files import (
    autoencoder_from_state_dict,
    is_state_dict,
    origin_of_state_dict,
    without_wrapping,
)
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.saelens.architectures import build_autoencoder
from neuron_explainer.models.autoencoders.saelens.config import saelens_config
from neuron_explainer.models.autoencoders.saelens.weights import Weights
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder
from neuron_explainer.models.tensor_files.pytorch_files import check_plain
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

WHAT_IS_TAKEN = "a path, an address, an SAE of SAELens, a state dict in OpenAI's form, or an Autoencoder"
"""What `load_autoencoder` takes, for errors."""


@runtime_checkable
class _SaelensConfig(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


@runtime_checkable
class _SaelensObject(Protocol):
    """What is used of an SAE or transcoder of SAELens, so that the package is not needed."""

    cfg: _SaelensConfig

    def state_dict(self) -> dict[str, Any]: ...


def is_autoencoder(source: object) -> bool:
    """Whether an object is one autoencoder in memory."""
    return isinstance(source, Autoencoder) or is_state_dict(source) or _is_of_saelens(source)


def _is_of_saelens(source: object) -> TypeIs[_SaelensObject]:
    return isinstance(source, _SaelensObject) and isinstance(source.cfg, _SaelensConfig)


def autoencoder_in_memory(source: object) -> tuple[Autoencoder, AutoencoderOrigin]:
    """The autoencoder of an object, and what the object says about it.

    Weights of SAELens are copied, so training them further changes nothing here; those of a state dict are shared.

    Raises:
        AutoencoderFormatError: its config or its tensors are not those of an autoencoder.
        InvalidRequestError: it is an object of another type.
    """
    if isinstance(source, Autoencoder):
        dst = DerivedScalarType.RESID_DELTA_MLP if isinstance(source, Transcoder) and source.reads is not None else None
        return source, AutoencoderOrigin(dst, n_inputs=source.n_inputs)
    if is_state_dict(source):
        source = without_wrapping(source)
        for key, tensor in source.items():
            if isinstance(tensor, Tensor):
                check_plain(tensor, str(key), "the state dict")
        autoencoder = autoencoder_from_state_dict(source)
        return autoencoder, origin_of_state_dict(source, autoencoder)
    if not _is_of_saelens(source):
        raise InvalidRequestError(f"{shown(source)} is not an autoencoder. Give {WHAT_IS_TAKEN}.")
    config = saelens_config(source.cfg.to_dict(), f"the {type(source).__name__} in memory")
    tensors = {name: value.detach().clone() for name, value in source.state_dict().items() if isinstance(value, Tensor)}
    return build_autoencoder(config, Weights(tensors)), config.origin
