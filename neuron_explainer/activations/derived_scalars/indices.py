"""Indices: names of one number, or a row of numbers, of an activation, a derived scalar or a component.

All are frozen and hashable, are checked when they are made, and have one JSON form (`to_json`, `from_json`).
`tensor_indices` has one entry for each axis: an int, or "All" or None for the whole axis. No torch is imported here.

The constructors take more types than the fields have: names of members, and NumPy and torch integers. The `__init__`
that each class shows to type checkers says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsIndex

from neuron_explainer.activations.derived_scalars.index_fields import (
    GivenTensorIndices,
    JsonForm,
    SizeOf,
    TensorIndex,
    as_slices,
    check_within_sizes,
    checked_enum,
    checked_layer_index,
    checked_place,
    checked_tensor_indices,
    whole_axis,
)
from neuron_explainer.errors import InvalidIndexError
from neuron_explainer.vocabulary.checks import checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import AttnSubNode, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_TOKENS = Dimension.SEQUENCE_TOKENS
_PAIR = (_TOKENS, Dimension.ATTENDED_TO_SEQUENCE_TOKENS)

DIMENSIONS_BY_NODE_TYPE: dict[NodeType, tuple[Dimension | None, ...]] = {
    NodeType.ATTENTION_HEAD: (*_PAIR, Dimension.ATTN_HEADS),
    NodeType.QK_CHANNEL: (_TOKENS, Dimension.ATTN_HEADS, Dimension.QUERY_AND_KEY_CHANNELS),
    NodeType.V_CHANNEL: (_TOKENS, Dimension.ATTN_HEADS, Dimension.VALUE_CHANNELS),
    NodeType.MLP_NEURON: (_TOKENS, Dimension.MLP_ACTS),
    NodeType.AUTOENCODER_LATENT: (_TOKENS, Dimension.AUTOENCODER_LATENTS),
    NodeType.MLP_AUTOENCODER_LATENT: (_TOKENS, Dimension.AUTOENCODER_LATENTS),
    NodeType.ATTENTION_AUTOENCODER_LATENT: (_TOKENS, Dimension.AUTOENCODER_LATENTS),
    NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR: (*_PAIR, Dimension.AUTOENCODER_LATENTS),
    # The components of an error are its autoencoder's inputs: neurons or residual stream channels.
    NodeType.AUTOENCODER_ERROR: (_TOKENS, None),
    NodeType.MLP_AUTOENCODER_ERROR: (_TOKENS, None),
    NodeType.ATTENTION_AUTOENCODER_ERROR: (_TOKENS, Dimension.RESIDUAL_STREAM_CHANNELS),
    NodeType.RESIDUAL_STREAM_CHANNEL: (_TOKENS, Dimension.RESIDUAL_STREAM_CHANNELS),
    NodeType.LAYER: (_TOKENS, Dimension.SINGLETON),
    NodeType.TOKEN: (_TOKENS, Dimension.SINGLETON),
    NodeType.VOCAB_TOKEN: (_TOKENS, Dimension.VOCAB_SIZE),
}
"""The axes of a node's `tensor_indices`, the component last. None stands for a component axis whose kind depends on the
autoencoder."""

_NODE_TYPES_WITHOUT_LAYERS = frozenset({NodeType.TOKEN, NodeType.VOCAB_TOKEN})


class _Index(JsonForm):
    """What all indices of tensors share."""

    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]

    @property
    def dimensions(self) -> tuple[Dimension | None, ...]:
        """The axes of `tensor_indices`, in order."""
        raise TypeError(f"{type(self).__name__} names no axes")

    @property
    def slices(self) -> tuple[int | slice, ...]:
        """`tensor_indices` in a form that indexes a tensor without a batch axis."""
        return as_slices(self.tensor_indices)

    @property
    def is_one_number(self) -> bool:
        """Whether every entry is an int, so that the index names one number."""
        return not any(whole_axis(entry) for entry in self.tensor_indices)

    def check_against(self, n_layers: int, size_of: SizeOf) -> None:
        """Check the layer and the positions against a model and a prompt.

        Args:
            n_layers: how many layers the model has.
            size_of: how long each axis is, as a mapping or a function; axes of unknown length are not checked.

        Raises:
            IndexOutOfRangeError: the layer or a position is out of range.
        """
        check_within_sizes(repr(self), self.layer_index, self.tensor_indices, self.dimensions, n_layers, size_of)


@dataclass(frozen=True, repr=False)
class ActivationIndex(_Index):
    """Numbers at one place of the forward pass, or (BACKWARD) of the gradient with respect to it.

    Raises:
        InvalidIndexError: `tensor_indices` does not have one entry for each of the place's axes, an entry is not a
            position, a place without layers is given a layer, or a place with layers is not.

    The name of a hook of TransformerLens stands for a place and its layer: `layer_index` may then be None.

    >>> ActivationIndex("mlp.post_act", 5, ("All", 131)).activation_location_type.name
    'MLP_POST_ACT'
    >>> ActivationIndex("blocks.5.mlp.hook_post", None, ("All", 131)).layer_index
    5
    """

    activation_location_type: ActivationLocationType
    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]
    pass_type: PassType = PassType.FORWARD

    if TYPE_CHECKING:

        def __init__(
            self,
            activation_location_type: ActivationLocationType | str,
            layer_index: SupportsIndex | None,
            tensor_indices: GivenTensorIndices,
            pass_type: PassType | str = PassType.FORWARD,
        ) -> None: ...

    def __post_init__(self) -> None:
        place = checked_place(self)
        checked_enum(self, "pass_type", PassType)
        if checked_layer_index(self) is None and not place.has_no_layers:
            raise InvalidIndexError(f"{place.value} is in every layer. Give the layer_index.")
        if self.layer_index is not None and place.has_no_layers:
            raise InvalidIndexError(
                f"{place.value} exists once in a model: layer_index must be None, not {self.layer_index}."
            )
        checked_tensor_indices(self, self.dimensions)

    @property
    def dimensions(self) -> tuple[Dimension | None, ...]:
        """The place's axes."""
        return self.activation_location_type.shape


@dataclass(frozen=True, repr=False)
class DerivedScalarIndex(_Index):
    """Numbers of one derived scalar; the layer is None for scalars without layers.

    Raises:
        InvalidIndexError: `tensor_indices` does not have one entry for each of the scalar's axes, or an entry is not a
            position.

    >>> DerivedScalarIndex("mlp_write_norm", 5, (3, 131)).is_one_number
    True
    """

    dst: DerivedScalarType
    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]
    pass_type: PassType = PassType.FORWARD

    if TYPE_CHECKING:

        def __init__(
            self,
            dst: DerivedScalarType | str,
            layer_index: SupportsIndex | None,
            tensor_indices: GivenTensorIndices,
            pass_type: PassType | str = PassType.FORWARD,
        ) -> None: ...

    def __post_init__(self) -> None:
        checked_enum(self, "dst", DerivedScalarType)
        checked_enum(self, "pass_type", PassType)
        checked_layer_index(self)
        checked_tensor_indices(self, self.dimensions)

    @property
    def dimensions(self) -> tuple[Dimension | None, ...]:
        """The derived scalar's axes."""
        return tuple(self.dst.shape_spec_per_token_sequence)

    @classmethod
    def from_activation_index(cls, index: ActivationIndex) -> "DerivedScalarIndex":
        """The same numbers, as entries of the derived scalar that is the raw activation at the place.

        Raises:
            InvalidIndexError: `index` is not an ActivationIndex.
            InvalidRequestError: no derived scalar is the raw activation at that place.
        """
        checked_type("index", index, ActivationIndex, InvalidIndexError)
        dst = DerivedScalarType.from_activation_location_type(index.activation_location_type)
        return cls(dst, index.layer_index, index.tensor_indices, index.pass_type)


@dataclass(frozen=True, repr=False)
class NodeIndex(_Index):
    """A component at a token, or a head at a pair of tokens.

    `tensor_indices` depends on the node type. Head: (token attended from, token attended to, head). Neuron or latent:
    (token, component). Embedding: (token, 0). Logit: (token, vocabulary token).

    Raises:
        InvalidIndexError: `tensor_indices` does not have one entry for each of the node's axes, an entry is not a
            position, or an embedding or a logit is given a layer.

    >>> NodeIndex("attention_head", 5, (7, 3, 1)).node_type.value
    'attention_head'
    """

    node_type: NodeType
    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]
    pass_type: PassType = PassType.FORWARD

    if TYPE_CHECKING:

        def __init__(
            self,
            node_type: NodeType | str,
            layer_index: SupportsIndex | None,
            tensor_indices: GivenTensorIndices,
            pass_type: PassType | str = PassType.FORWARD,
        ) -> None: ...

    def __post_init__(self) -> None:
        node_type = checked_enum(self, "node_type", NodeType)
        checked_enum(self, "pass_type", PassType)
        if checked_layer_index(self) is not None and node_type in _NODE_TYPES_WITHOUT_LAYERS:
            raise InvalidIndexError(
                f"{node_type.value} does not belong to a layer: layer_index must be None, not {self.layer_index}."
            )
        checked_tensor_indices(self, self.dimensions)

    @property
    def dimensions(self) -> tuple[Dimension | None, ...]:
        """The node's axes, the component last."""
        return DIMENSIONS_BY_NODE_TYPE[self.node_type]

    @classmethod
    def _class_for(cls, data: Mapping[str, Any]) -> "type[NodeIndex]":
        """AttnSubNodeIndex if the JSON object has `q_k_or_v`."""
        return AttnSubNodeIndex if "q_k_or_v" in data else cls

    @classmethod
    def from_activation_index(cls, index: ActivationIndex) -> "NodeIndex":
        """The component whose activation `index` names (a neuron for MLP_POST_ACT, a head for ATTN_QK_PROBS, …).

        Raises:
            InvalidIndexError: `index` is not an ActivationIndex.
        """
        checked_type("index", index, ActivationIndex, InvalidIndexError)
        place = index.activation_location_type
        return cls(place.node_type, index.layer_index, index.tensor_indices, index.pass_type)


@dataclass(frozen=True, repr=False)
class AttnSubNodeIndex(NodeIndex):
    """A head together with one of its inputs: query, key or value.

    Raises:
        InvalidIndexError: as for NodeIndex; or the node is not an attention head.

    >>> AttnSubNodeIndex("attention_head", 5, (7, 3, 1), q_k_or_v="Q").q_k_or_v
    <AttnSubNode.Q: 'attn.q'>
    """

    q_k_or_v: AttnSubNode = field(kw_only=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            node_type: NodeType | str,
            layer_index: SupportsIndex | None,
            tensor_indices: GivenTensorIndices,
            pass_type: PassType | str = PassType.FORWARD,
            *,
            q_k_or_v: AttnSubNode | str,
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_enum(self, "q_k_or_v", AttnSubNode)
        if self.node_type is not NodeType.ATTENTION_HEAD:
            raise InvalidIndexError(f"Only an attention head has a query, key and value, not {self.node_type.value}.")
