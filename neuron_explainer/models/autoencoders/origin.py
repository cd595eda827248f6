"""What a file says about its autoencoder, and whether that fits the model, place and layer it is used for."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from neuron_explainer.errors import AutoencoderMismatchError
from neuron_explainer.models.model_registry import OTHER_NAMES
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NodeType

NODE_TYPE_BY_DST: dict[DerivedScalarType, NodeType] = {
    DerivedScalarType.MLP_POST_ACT: NodeType.MLP_AUTOENCODER_LATENT,
    DerivedScalarType.RESID_DELTA_MLP: NodeType.MLP_AUTOENCODER_LATENT,
    DerivedScalarType.RESID_DELTA_ATTN: NodeType.ATTENTION_AUTOENCODER_LATENT,
    DerivedScalarType.MLP_PRE_ACT: NodeType.AUTOENCODER_LATENT,
    DerivedScalarType.ATTN_WEIGHTED_SUM_OF_VALUES: NodeType.AUTOENCODER_LATENT,
    DerivedScalarType.PREVIOUS_LAYER_RESID_POST_MLP: NodeType.AUTOENCODER_LATENT,
    DerivedScalarType.RESID_POST_ATTN: NodeType.AUTOENCODER_LATENT,
    DerivedScalarType.RESID_POST_MLP: NodeType.AUTOENCODER_LATENT,
}
"""The activations that autoencoders can be trained on, and the node type of the latents of each."""


@runtime_checkable
class ModelSizes(Protocol):
    """The name and sizes of a model, as a `ModelContext` has them."""

    @property
    def model_name(self) -> str:
        """The model's name."""
        ...

    @property
    def n_layers(self) -> int:
        """The number of layers."""
        ...

    def get_dim_size(self, model_dim: Dimension, /) -> int:
        """The length of an axis."""
        ...


@dataclass(frozen=True)
class AutoencoderOrigin:
    """What a file says about its autoencoder; None for what it does not say.

    Attributes:
        dst: the derived scalar type of the activations it was trained on.
        layer_index: its layer.
        base_model_name: the model it was trained on.
        architecture: the kind of autoencoder, in the file's own words.
        n_inputs: how many numbers it reads at a token.
        n_outputs: how many numbers it gives at a token, if it is a transcoder; None: as many as it reads.
        assumed: a setting that changes results and that the file does not say, in words for a warning.
        metadata: everything else in the file.
    """

    dst: DerivedScalarType | None = None
    layer_index: int | None = None
    base_model_name: str | None = None
    architecture: str | None = None
    n_inputs: int | None = None
    n_outputs: int | None = None
    assumed: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def same_base_model(one: str, other: str) -> bool:
    """Whether two names mean the same model, ignoring case, folders, an organisation and `.gguf`.

    >>> same_base_model("openai-community/gpt2", "gpt2-small")
    True
    """

    def plain(name: str) -> str:
        last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower().removesuffix(".gguf")
        return OTHER_NAMES.get(last, last).lower()

    return plain(one) == plain(other)


def check_origin(origin: AutoencoderOrigin, dst: DerivedScalarType, layer_index: int, path: str) -> None:
    """Refuse an autoencoder of another place or layer.

    Raises:
        AutoencoderMismatchError: the file names another derived scalar type or layer than it is used for.
    """
    if origin.dst is not None and origin.dst is not dst:
        raise AutoencoderMismatchError(f"{path} is an autoencoder of {origin.dst}, but is used as one of {dst}.")
    if origin.layer_index is not None and origin.layer_index != layer_index:
        raise AutoencoderMismatchError(
            f"{path} is of layer {origin.layer_index}, but is used as one of layer {layer_index}."
        )
