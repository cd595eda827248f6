"""Where a backward pass starts if not at a loss: one traced activation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuron_explainer.activations.derived_scalars.index_fields import (
    JsonForm,
    SizeOf,
    TensorIndex,
    checked_bool,
    checked_enum,
    whole_axis,
)
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex, NodeIndex
from neuron_explainer.errors import InvalidIndexError, choices_sentence, nearest_first, shown
from neuron_explainer.vocabulary.checks import checked_type
from neuron_explainer.vocabulary.named_members import NamedMembers
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


class PreOrPostAct(NamedMembers):
    """An activation before or after its nonlinearity. For a head the nonlinearity is the softmax."""

    PRE = "pre"
    POST = "post"


class AttentionTraceType(NamedMembers):
    """The inputs of a head that a trace lets the gradient through."""

    Q = "Q"
    K = "K"
    QK = "QK"
    V = "V"


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


@dataclass(frozen=True, repr=False)
class TraceConfig(JsonForm):
    """Where a backward pass starts if not at a loss of the logits: one activation.

    Attributes:
        node_index: the component; a whole axis of tokens means their sum.
        pre_or_post_act: whether the activation is taken before or after its nonlinearity.
        detach_layer_norm_scale: hold the scale of the LayerNorm before the component constant.
        attention_trace_type: for a head (only), the inputs that let the gradient through.
        downstream_trace_config: for a trace through V (only), the activation whose residual gradient the head's write
            is projected on; if not given, the loss's residual gradient.

    Raises:
        InvalidIndexError: a backward pass cannot start at the node, or the fields contradict each other.

    >>> TraceConfig(NodeIndex("mlp_neuron", 5, (7, 131)), "pre").layer_index
    5
    """

    node_index: NodeIndex
    pre_or_post_act: PreOrPostAct
    detach_layer_norm_scale: bool = False
    attention_trace_type: AttentionTraceType | None = None
    downstream_trace_config: "TraceConfig | None" = None

    if TYPE_CHECKING:  # names of members are taken as well

        def __init__(
            self,
            node_index: NodeIndex,
            pre_or_post_act: PreOrPostAct | str,
            detach_layer_norm_scale: bool = False,
            attention_trace_type: AttentionTraceType | str | None = None,
            downstream_trace_config: "TraceConfig | None" = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.node_index, NodeIndex):
            raise InvalidIndexError(f"TraceConfig: node_index must be a NodeIndex, not {shown(self.node_index)}.")
        checked_enum(self, "pre_or_post_act", PreOrPostAct)
        checked_bool(self, "detach_layer_norm_scale")
        if self.attention_trace_type is not None:
            checked_enum(self, "attention_trace_type", AttentionTraceType)
        if self.node_type not in _TRACEABLE_NODE_TYPES:
            choices = nearest_first(self.node_type.value, [node_type.value for node_type in _TRACEABLE_NODE_TYPES])
            raise InvalidIndexError(
                f"A backward pass cannot start at the node type {self.node_type.value}. {choices_sentence(choices)}"
            )
        if whole_axis(self.node_index.tensor_indices[-1]):
            raise InvalidIndexError(f"A trace starts at one component, but {self.node_index} names all of them.")
        if (self.node_type is NodeType.ATTENTION_HEAD) != (self.attention_trace_type is not None):
            raise InvalidIndexError(
                f"attention_trace_type (Q, K, QK or V) is for heads, and every head needs one. It is "
                f"{self.attention_trace_type} for the node type {self.node_type.value}."
            )
        is_value_trace = self.attention_trace_type is AttentionTraceType.V
        if self.downstream_trace_config is not None and not is_value_trace:
            raise InvalidIndexError("downstream_trace_config is only for a trace through a head's value (V).")
        if is_value_trace and self.pre_or_post_act is PreOrPostAct.PRE:
            raise InvalidIndexError("A trace through a head's value (V) starts after the softmax: use POST.")
        if self.downstream_trace_config is not None:
            self._check_downstream(self.downstream_trace_config)

    def _check_downstream(self, downstream: object) -> None:
        if not isinstance(downstream, TraceConfig):
            raise InvalidIndexError(f"downstream_trace_config must be a TraceConfig, not {shown(downstream)}.")
        here, there = self.layer_index, downstream.layer_index
        same_layer_mlp = here == there and downstream.node_type in (
            NodeType.MLP_NEURON,
            NodeType.AUTOENCODER_LATENT,
            NodeType.MLP_AUTOENCODER_LATENT,
        )
        if here is not None and there is not None and here >= there and not same_layer_mlp:
            raise InvalidIndexError(
                f"downstream_trace_config traces layer {there}, which is not downstream of a head in layer {here}."
            )

    @property
    def node_type(self) -> NodeType:
        """The kind of the traced component."""
        return self.node_index.node_type

    @property
    def layer_index(self) -> int | None:
        """Its layer; None for a logit."""
        return self.node_index.layer_index

    @property
    def tensor_indices(self) -> tuple[TensorIndex, ...]:
        """Its token or tokens, and its number."""
        return self.node_index.tensor_indices

    @property
    def pass_type(self) -> PassType:
        """FORWARD for an activation; DstConfig refuses BACKWARD."""
        return self.node_index.pass_type

    @classmethod
    def from_activation_index(
        cls,
        activation_index: ActivationIndex,
        detach_layer_norm_scale: bool = False,
        attention_trace_type: AttentionTraceType | None = None,
        downstream_trace_config: "TraceConfig | None" = None,
    ) -> "TraceConfig":
        """The trace of the activation that `activation_index` names; for a head, through Q and K unless given.

        Raises:
            InvalidIndexError: a backward pass cannot start at that place, or `activation_index` is not an
                ActivationIndex.
        """
        checked_type("activation_index", activation_index, ActivationIndex, InvalidIndexError)
        place = activation_index.activation_location_type
        if place not in _PRE_OR_POST_BY_PLACE:
            choices = nearest_first(place.value, [choice.value for choice in _PRE_OR_POST_BY_PLACE])
            raise InvalidIndexError(f"A backward pass cannot start at {place.value}. {choices_sentence(choices)}")
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
        """Check this node and the downstream one, as `NodeIndex.check_against` does."""
        self.node_index.check_against(n_layers, size_of)
        if self.downstream_trace_config is not None:
            self.downstream_trace_config.check_against(n_layers, size_of)
