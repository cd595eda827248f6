"""What an autoencoder says of itself, and whether that fits where it is to be used."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from neuron_explainer.errors import AutoencoderMismatchError
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NodeType

# By the value of the place's derived scalar type, which this package stands below.
NODE_TYPE_BY_PLACE: dict[str, NodeType] = {
    "mlp_post_act": NodeType.MLP_AUTOENCODER_LATENT,
    "resid_delta_mlp": NodeType.MLP_AUTOENCODER_LATENT,
    "resid_delta_attn": NodeType.ATTENTION_AUTOENCODER_LATENT,
    "mlp_pre_act": NodeType.AUTOENCODER_LATENT,
    "attn_weighted_sum_of_values": NodeType.AUTOENCODER_LATENT,
    "previous_layer_resid_post_mlp": NodeType.AUTOENCODER_LATENT,
    "resid_post_attn": NodeType.AUTOENCODER_LATENT,
    "resid_post_mlp": NodeType.AUTOENCODER_LATENT,
}
"""The kind of node that an autoencoder's latents are, by the place it was trained on."""

_RESIDUAL = (Dimension.RESIDUAL_STREAM_CHANNELS,)
DIMENSIONS_BY_PLACE: dict[str, tuple[Dimension, ...]] = {
    **dict.fromkeys(NODE_TYPE_BY_PLACE, _RESIDUAL),
    "mlp_post_act": (Dimension.MLP_ACTS,),
    "mlp_pre_act": (Dimension.MLP_ACTS,),
    "attn_weighted_sum_of_values": (Dimension.ATTN_HEADS, Dimension.VALUE_CHANNELS),
}
"""The axes of one token at a place; an autoencoder's inputs are these, flattened."""

_OTHER_NAMES = {"gpt2": "gpt2-small"}


@runtime_checkable
class ModelSizes(Protocol):
    """What is asked of a model here: its name and its sizes."""

    @property
    def model_name(self) -> str:
        """What it is called."""
        ...

    @property
    def n_layers(self) -> int:
        """How many layers it has."""
        ...

    def get_dim_size(self, model_dim: Dimension, /) -> int:
        """The length of an axis."""
        ...


@dataclass(frozen=True)
class AutoencoderOrigin:
    """What a file says of the autoencoder in it; None is what it does not say.

    Attributes:
        place: the value of the place's derived scalar type.
        layer_index: its layer.
        base_model_name: the model it was trained on.
        architecture: the kind of autoencoder, in the file's own words.
        metadata: everything else that the file says.
    """

    place: str | None = None
    layer_index: int | None = None
    base_model_name: str | None = None
    architecture: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def same_base_model(one: str, other: str) -> bool:
    """Whether two names mean the same model: case, folders, an organisation and a `.gguf` aside."""

    def plain(name: str) -> str:
        last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower().removesuffix(".gguf")
        return _OTHER_NAMES.get(last, last)

    return plain(one) == plain(other)


def check_place(origin: AutoencoderOrigin, place: str, layer_index: int, path: str) -> None:
    """Raises AutoencoderMismatchError where a file names another place or layer than it is used for."""
    if origin.place is not None and origin.place != place:
        raise AutoencoderMismatchError(f"{path} is an autoencoder of {origin.place}, and is used as one of {place}.")
    if origin.layer_index is not None and origin.layer_index != layer_index:
        raise AutoencoderMismatchError(
            f"{path} is of layer {origin.layer_index}, and is used as one of layer {layer_index}."
        )
