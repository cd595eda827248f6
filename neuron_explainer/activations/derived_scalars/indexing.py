"""How to name a place: one number, or a row of them, of a derived scalar, an activation or a component.

All are frozen and hashable, are checked when they are made, and have one JSON form (`to_json`, `from_json`).
`tensor_indices` has one entry for each axis: an int, or "All" or None for the whole axis. Nothing here imports torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from neuron_explainer.activations.derived_scalars.index_fields import (
    JsonForm,
    SizeOf,
    TensorIndex,
    as_slices,
    check_within_sizes,
    checked_enum,
    checked_layer_index,
    checked_tensor_indices,
    whole_axis,
)
from neuron_explainer.errors import InvalidIndexError
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
    # An error has its autoencoder's inputs for components: neurons or residual-stream channels.
    NodeType.AUTOENCODER_ERROR: (_TOKENS, None),
    NodeType.MLP_AUTOENCODER_ERROR: (_TOKENS, None),
    NodeType.ATTENTION_AUTOENCODER_ERROR: (_TOKENS, Dimension.RESIDUAL_STREAM_CHANNELS),
    NodeType.RESIDUAL_STREAM_CHANNEL: (_TOKENS, Dimension.RESIDUAL_STREAM_CHANNELS),
    NodeType.LAYER: (_TOKENS, Dimension.SINGLETON),
    NodeType.TOKEN: (_TOKENS, Dimension.SINGLETON),
    NodeType.VOCAB_TOKEN: (_TOKENS, Dimension.VOCAB_SIZE),
}
"""The axes of a node's `tensor_indices`, the component last; None is a component axis whose size the node's type does
not tell."""

_NODE_TYPES_WITHOUT_LAYERS = frozenset({NodeType.TOKEN, NodeType.VOCAB_TOKEN})


class PreOrPostAct(StrEnum):
    """Whether an activation is meant before or after its nonlinearity (for a head: before or after the softmax)."""

    PRE = "pre"
    POST = "post"


class AttentionTraceType(StrEnum):
    """Which of a head's inputs a trace lets the gradient through."""

    Q = "Q"
    K = "K"
    QK = "QK"
    V = "V"


class _Index(JsonForm):
    """What the indices of tensors share."""

    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]

    @property
    def dimensions(self) -> tuple[Dimension | None, ...]:
        """The axes that `tensor_indices` indexes, in its order."""
        raise TypeError(f"{type(self).__name__} names no axes")

    @property
    def slices(self) -> tuple[int | slice, ...]:
        """`tensor_indices` as what a tensor without a batch axis is indexed with."""
        return as_slices(self.tensor_indices)

    @property
    def is_one_number(self) -> bool:
        """Whether every axis has an int, so that one number is named."""
        return not any(whole_axis(entry) for entry in self.tensor_indices)

    def check_against(self, n_layers: int, size_of: SizeOf) -> None:
        """Check the layer and the positions against a model and a prompt.

        Args:
            n_layers: how many layers the model has.
            size_of: how long each axis is, as a mapping or a function; axes that it does not know are not checked.

        Raises:
            IndexOutOfRangeError: the layer or a position is not there.
        """
        check_within_sizes(repr(self), self.layer_index, self.tensor_indices, self.dimensions, n_layers, size_of)


@dataclass(frozen=True)
class ActivationIndex(_Index):
    """Numbers at one place of the forward pass, or (BACKWARD) of the gradient with respect to it.

    Raises:
        InvalidIndexError: the number of `tensor_indices` is not that of the place's axes, an entry is no position, or
            a layer is given for a place without layers or lacking for one that has them.
    """

    activation_location_type: ActivationLocationType
    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]
    pass_type: PassType = PassType.FORWARD

    def __post_init__(self) -> None:
        place = checked_enum(self, "activation_location_type", ActivationLocationType)
        checked_enum(self, "pass_type", PassType)
        if checked_layer_index(self) is None and not place.has_no_layers:
            raise InvalidIndexError(f"{place.value} is in every layer: give the layer_index.")
        if self.layer_index is not None and place.has_no_layers:
            raise InvalidIndexError(
                f"{place.value} is there once in a model: layer_index must be None, not {self.layer_index}."
            )
        checked_tensor_indices(self, self.dimensions)

    @property
    def dimensions(self) -> tuple[Dimension | None, ...]:
        """The place's axes."""
        return self.activation_location_type.shape


@dataclass(frozen=True)
class DerivedScalarIndex(_Index):
    """Numbers of one derived scalar; the layer is None for scalars without layers.

    Raises:
        InvalidIndexError: the number of `tensor_indices` is not that of the scalar's axes, or an entry is no position.
    """

    dst: DerivedScalarType
    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]
    pass_type: PassType = PassType.FORWARD

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
        """The same numbers, as those of the derived scalar that is the raw activation."""
        dst = DerivedScalarType.from_activation_location_type(index.activation_location_type)
        return cls(dst, index.layer_index, index.tensor_indices, index.pass_type)


@dataclass(frozen=True)
class NodeIndex(_Index):
    """A component at a token, or a head at a pair of tokens: what has an activation and writes to the residual stream.

    `tensor_indices` by node type: a head (attended from, attended to, head); a neuron or latent (token, component); an
    embedding (token, 0); an entry of the logits (token, vocabulary token).

    Raises:
        InvalidIndexError: the number of `tensor_indices` is not that of the node's axes, an entry is no position, or
            a layer is given for an embedding or a logit.
    """

    node_type: NodeType
    layer_index: int | None
    tensor_indices: tuple[TensorIndex, ...]
    pass_type: PassType = PassType.FORWARD

    def __post_init__(self) -> None:
        node_type = checked_enum(self, "node_type", NodeType)
        checked_enum(self, "pass_type", PassType)
        if checked_layer_index(self) is not None and node_type in _NODE_TYPES_WITHOUT_LAYERS:
            raise InvalidIndexError(
                f"A {node_type.value} is in no layer: layer_index must be None, not {self.layer_index}."
            )
        checked_tensor_indices(self, self.dimensions)

    @property
    def dimensions(self) -> tuple[Dimension | None, ...]:
        """The node's axes, its component last."""
        return DIMENSIONS_BY_NODE_TYPE[self.node_type]

    @classmethod
    def _class_for(cls, data: Mapping[str, Any]) -> "type[NodeIndex]":
        """An AttnSubNodeIndex if the JSON object says `q_k_or_v`."""
        return AttnSubNodeIndex if "q_k_or_v" in data else cls

    @classmethod
    def from_activation_index(cls, index: ActivationIndex) -> "NodeIndex":
        """The component whose activation `index` names (a neuron for MLP_POST_ACT, a head for ATTN_QK_PROBS, …)."""
        place = index.activation_location_type
        return cls(place.node_type, index.layer_index, index.tensor_indices, index.pass_type)


@dataclass(frozen=True)
class AttnSubNodeIndex(NodeIndex):
    """A head together with which of its inputs (query, key or value) is meant.

    Raises:
        InvalidIndexError: as for NodeIndex, or the node is no attention head.
    """

    q_k_or_v: AttnSubNode = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_enum(self, "q_k_or_v", AttnSubNode)
        if self.node_type is not NodeType.ATTENTION_HEAD:
            raise InvalidIndexError(
                f"Only an attention head has a query, key and value; this is a {self.node_type.value}."
            )


_PRE_OR_POST_BY_PLACE: dict[ActivationLocationType, PreOrPostAct] = {
    ActivationLocationType.MLP_PRE_ACT: PreOrPostAct.PRE,
    ActivationLocationType.MLP_POST_ACT: PreOrPostAct.POST,
    ActivationLocationType.ATTN_QK_LOGITS: PreOrPostAct.PRE,
    ActivationLocationType.ATTN_QK_PROBS: PreOrPostAct.POST,
    ActivationLocationType.ONLINE_AUTOENCODER_LATENT: PreOrPostAct.POST,
    ActivationLocationType.ONLINE_MLP_AUTOENCODER_LATENT: PreOrPostAct.POST,
    ActivationLocationType.ONLINE_ATTENTION_AUTOENCODER_LATENT: PreOrPostAct.POST,
    ActivationLocationType.LOGITS: PreOrPostAct.POST,
}
_TRACEABLE_NODE_TYPES = tuple(dict.fromkeys(place.node_type for place in _PRE_OR_POST_BY_PLACE))


@dataclass(frozen=True)
class TraceConfig(JsonForm):
    """Where a backward pass starts, when it is not a loss of the logits: one activation at one place.

    Attributes:
        node_index: the component; a whole axis of tokens means the sum over them.
        pre_or_post_act: its activation before or after its nonlinearity.
        detach_layer_norm_scale: hold the scale of the LayerNorm before the component constant.
        attention_trace_type: for a head, and only for a head, the inputs that let the gradient through.
        downstream_trace_config: for V alone, the activation whose residual gradient the head's write is projected on;
            without one, the loss.

    Raises:
        InvalidIndexError: the node cannot be traced from, or the fields contradict each other.
    """

    node_index: NodeIndex
    pre_or_post_act: PreOrPostAct
    detach_layer_norm_scale: bool = False
    attention_trace_type: AttentionTraceType | None = None
    downstream_trace_config: "TraceConfig | None" = None

    def __post_init__(self) -> None:
        if not isinstance(self.node_index, NodeIndex):
            raise InvalidIndexError(f"TraceConfig: node_index must be a NodeIndex, not {self.node_index!r}.")
        checked_enum(self, "pre_or_post_act", PreOrPostAct)
        if self.attention_trace_type is not None:
            checked_enum(self, "attention_trace_type", AttentionTraceType)
        if self.node_type not in _TRACEABLE_NODE_TYPES:
            choices = ", ".join(node_type.value for node_type in _TRACEABLE_NODE_TYPES)
            raise InvalidIndexError(f"A backward pass cannot start at a {self.node_type.value}; it can at: {choices}.")
        if whole_axis(self.node_index.tensor_indices[-1]):
            raise InvalidIndexError(f"A trace starts at one component, and {self.node_index} names all of them.")
        if (self.node_type is NodeType.ATTENTION_HEAD) != (self.attention_trace_type is not None):
            raise InvalidIndexError(
                f"attention_trace_type (Q, K, QK or V) belongs to a head, and a head needs one; got "
                f"{self.attention_trace_type} for a {self.node_type.value}."
            )
        is_value_trace = self.attention_trace_type is AttentionTraceType.V
        if self.downstream_trace_config is not None and not is_value_trace:
            raise InvalidIndexError("downstream_trace_config belongs to a trace through a head's value (V) alone.")
        if is_value_trace and self.pre_or_post_act is PreOrPostAct.PRE:
            raise InvalidIndexError("A trace through a head's value (V) is of its write, after the softmax: use POST.")
        if self.downstream_trace_config is not None:
            self._check_downstream(self.downstream_trace_config)

    def _check_downstream(self, downstream: object) -> None:
        if not isinstance(downstream, TraceConfig):
            raise InvalidIndexError(f"downstream_trace_config must be a TraceConfig, not {downstream!r}.")
        here, there = self.layer_index, downstream.layer_index
        same_layer_mlp = here == there and downstream.node_type in (
            NodeType.MLP_NEURON,
            NodeType.AUTOENCODER_LATENT,
            NodeType.MLP_AUTOENCODER_LATENT,
        )
        if here is not None and there is not None and here >= there and not same_layer_mlp:
            raise InvalidIndexError(
                f"The downstream node, in layer {there}, is not downstream of a head in layer {here}."
            )

    @property
    def node_type(self) -> NodeType:
        """The kind of the component that is traced."""
        return self.node_index.node_type

    @property
    def layer_index(self) -> int | None:
        """Its layer; None for an entry of the logits."""
        return self.node_index.layer_index

    @property
    def tensor_indices(self) -> tuple[TensorIndex, ...]:
        """Its token or tokens, and its index."""
        return self.node_index.tensor_indices

    @property
    def pass_type(self) -> PassType:
        """FORWARD for an activation; DstConfig refuses any other."""
        return self.node_index.pass_type

    @classmethod
    def from_activation_index(
        cls,
        activation_index: ActivationIndex,
        detach_layer_norm_scale: bool = False,
        attention_trace_type: AttentionTraceType | None = None,
        downstream_trace_config: "TraceConfig | None" = None,
    ) -> "TraceConfig":
        """The trace of the activation that `activation_index` names; a head's goes through Q and K unless said.

        Raises:
            InvalidIndexError: no backward pass can start at that place.
        """
        place = activation_index.activation_location_type
        if place not in _PRE_OR_POST_BY_PLACE:
            choices = ", ".join(choice.value for choice in _PRE_OR_POST_BY_PLACE)
            raise InvalidIndexError(f"A backward pass cannot start at {place.value}; it can at: {choices}.")
        if attention_trace_type is None and place.node_type is NodeType.ATTENTION_HEAD:
            attention_trace_type = AttentionTraceType.QK
        return cls(
            NodeIndex.from_activation_index(activation_index),
            _PRE_OR_POST_BY_PLACE[place],
            detach_layer_norm_scale,
            attention_trace_type,
            downstream_trace_config,
        )

    @classmethod
    def _value_from_json(cls, field: str, value: Any) -> Any:
        if field == "node_index":
            return NodeIndex.from_json(value)
        return cls.from_json(value) if field == "downstream_trace_config" and value is not None else value

    def check_against(self, n_layers: int, size_of: SizeOf) -> None:
        """Check the node, and the one downstream, as `NodeIndex.check_against` does."""
        self.node_index.check_against(n_layers, size_of)
        if self.downstream_trace_config is not None:
            self.downstream_trace_config.check_against(n_layers, size_of)


@dataclass(frozen=True)
class AblationSpec(JsonForm):
    """Numbers to overwrite while the model runs: activations, or (a BACKWARD index) gradients.

    Raises:
        InvalidIndexError: `index` is no ActivationIndex, or `value` is no finite number.
    """

    index: ActivationIndex
    value: float

    def __post_init__(self) -> None:
        if not isinstance(self.index, ActivationIndex):
            raise InvalidIndexError(f"AblationSpec: index must be an ActivationIndex, not {self.index!r}.")
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise InvalidIndexError(f"AblationSpec: value must be a finite number, not {self.value!r}.")
        object.__setattr__(self, "value", float(self.value))

    @classmethod
    def _value_from_json(cls, field: str, value: Any) -> Any:
        return ActivationIndex.from_json(value) if field == "index" else value

    def check_against(self, n_layers: int, size_of: SizeOf) -> None:
        """Check the index as `ActivationIndex.check_against` does."""
        self.index.check_against(n_layers, size_of)
