"""A name's parts as the indices that computations take."""

from typing import Any

from neuron_explainer.activations.derived_scalars.index_fields import TensorIndex
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex, AttnSubNodeIndex, NodeIndex
from neuron_explainer.activations.derived_scalars.names.fields import NodeFields, said_of
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.trace_config import AttentionTraceType, PreOrPostAct, TraceConfig
from neuron_explainer.errors import InvalidIndexError
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

_LATENT_TYPE = {
    None: NodeType.AUTOENCODER_LATENT,
    "mlp": NodeType.MLP_AUTOENCODER_LATENT,
    "attn": NodeType.ATTENTION_AUTOENCODER_LATENT,
}
_ERROR_TYPE = {
    None: NodeType.AUTOENCODER_ERROR,
    "mlp": NodeType.MLP_AUTOENCODER_ERROR,
    "attn": NodeType.ATTENTION_AUTOENCODER_ERROR,
}
_LATENT_PLACE = {
    None: Place.ONLINE_AUTOENCODER_LATENT,
    "mlp": Place.ONLINE_MLP_AUTOENCODER_LATENT,
    "attn": Place.ONLINE_ATTENTION_AUTOENCODER_LATENT,
}
_HEAD_PLACE = {
    None: Place.ATTN_WEIGHTED_SUM_OF_VALUES,
    "q": Place.ATTN_QUERY,
    "k": Place.ATTN_KEY,
    "v": Place.ATTN_VALUE,
}
_VECTOR_PLACE = {
    NodeKind.MLP: Place.RESID_DELTA_MLP,
    NodeKind.ATTENTION: Place.RESID_DELTA_ATTN,
    NodeKind.MIDDLE: Place.RESID_POST_ATTN,
    NodeKind.RESIDUAL: Place.RESID_POST_MLP,
    NodeKind.EMBEDDING: Place.RESID_POST_EMBEDDING,
    NodeKind.FINAL: Place.RESID_POST_FINAL_LAYER_NORM,
}
_NUMBER_PLACE = {NodeKind.NEURON: Place.MLP_POST_ACT, NodeKind.VOCAB: Place.LOGITS}


def node_index(node: NodeFields, pass_type: PassType | str) -> NodeIndex:
    """The node that a name names, as a NodeIndex; "All" where the name says no token.

    Raises:
        InvalidIndexError: no NodeIndex is so fine: it has no channels of a neuron, say.
        NodeNameError: a token is not a position from 0 on.
    """
    kind, token = node.kind, _entry(node.token_index)
    pair = (token, _entry(node.attended_to_index))
    number, channel = node.component, node.channel
    if kind is NodeKind.HEAD and channel is None:
        if node.part in ("q", "k", "v"):
            indices = (*pair, number)
            return AttnSubNodeIndex(NodeType.ATTENTION_HEAD, node.layer, indices, pass_type, q_k_or_v=node.part)
        return NodeIndex(NodeType.ATTENTION_HEAD, node.layer, (*pair, number), pass_type)
    if kind is NodeKind.LATENT and node.attended_to is not None:
        _refuse(node, "NodeIndex", "channel", "autoencoder", "head")
        return NodeIndex(NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR, node.layer, (*pair, number), pass_type)
    if kind is NodeKind.ERROR:
        return NodeIndex(_ERROR_TYPE[node.autoencoder], node.layer, (token, _entry(channel)), pass_type)
    _refuse(node, "NodeIndex", "attended_to", "head")
    if kind is NodeKind.HEAD:
        node_type = NodeType.V_CHANNEL if node.part in (None, "v") else NodeType.QK_CHANNEL
        return NodeIndex(node_type, node.layer, (token, number, channel), pass_type)
    if kind.has_component:
        _refuse(node, "NodeIndex", "channel")
        node_types = {NodeKind.NEURON: NodeType.MLP_NEURON, NodeKind.VOCAB: NodeType.VOCAB_TOKEN}
        node_type = node_types.get(kind) or _LATENT_TYPE[node.autoencoder]
        return NodeIndex(node_type, node.layer, (token, number), pass_type)
    if channel is not None:
        return NodeIndex(NodeType.RESIDUAL_STREAM_CHANNEL, node.layer, (token, channel), pass_type)
    whole = NodeType.TOKEN if kind is NodeKind.EMBEDDING else NodeType.LAYER
    return NodeIndex(whole, node.layer, (token, 0), pass_type)


def activation_index(node: NodeFields, pass_type: PassType | str) -> ActivationIndex:
    """What a node is in the forward pass: the numbers that stand for it there.

    Raises:
        InvalidIndexError: it has no place in the forward pass, or several.
        NodeNameError: a token is not a position from 0 on.
    """
    kind, token = node.kind, _entry(node.token_index)
    channel = _entry(node.channel)
    layer = node.layer
    if kind is NodeKind.HEAD:
        if node.attended_to is not None:
            _refuse(node, "ActivationIndex", "channel", "part")
            indices = (token, _entry(node.attended_to_index), node.component)
            return ActivationIndex(Place.ATTN_QK_PROBS, layer, indices, pass_type)
        if node.part == "qk":
            raise InvalidIndexError(f"{node} is two places. Write /q or /k, or the token attended to, as in L23H3<-1.")
        return ActivationIndex(_HEAD_PLACE[node.part], layer, (token, node.component, channel), pass_type)
    _refuse(node, "ActivationIndex", "attended_to", "head")
    if kind.has_component:
        _refuse(node, "ActivationIndex", "channel")
        place = _NUMBER_PLACE.get(kind) or _LATENT_PLACE[node.autoencoder]
        return ActivationIndex(place, layer, (token, node.component), pass_type)
    if kind is NodeKind.ERROR and node.autoencoder == "attn":
        place = Place.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR
        return ActivationIndex(place, layer, (token, channel), pass_type)
    if kind is NodeKind.START and layer is not None:  # the end of the layer before
        place = Place.RESID_POST_MLP if layer else Place.RESID_POST_EMBEDDING
        return ActivationIndex(place, layer - 1 if layer else None, (token, channel), pass_type)
    if kind not in _VECTOR_PLACE:
        raise InvalidIndexError(f"{node} ({kind.meaning}) is not a single place of the forward pass. {_advice(node)}")
    return ActivationIndex(_VECTOR_PLACE[kind], layer, (token, channel), pass_type)


def trace_config(
    node: NodeFields,
    through: AttentionTraceType | str | None,
    pre_or_post_act: PreOrPostAct | str | None,
    **others: Any,
) -> TraceConfig:
    """The trace of a node. Its arguments are those of `NodeName.to_trace_config`."""
    if node.kind is NodeKind.HEAD:
        through = AttentionTraceType(through or node.part or AttentionTraceType.QK)
        default = PreOrPostAct.POST if through is AttentionTraceType.V else PreOrPostAct.PRE
        _refuse(node, "TraceConfig", "channel")
        whole = NodeFields(
            node.kind, node.layer, node.component, token=node.token, attended_to=node.attended_to
        )  # TraceConfig says the part
    else:
        default, whole = PreOrPostAct.POST, node
    index = node_index(whole, PassType.FORWARD)
    return TraceConfig(index, pre_or_post_act or default, attention_trace_type=through, **others)


def _entry(position: TensorIndex) -> TensorIndex:
    return "All" if position is None else position


def _refuse(node: NodeFields, index: str, *fields: str) -> None:
    """Refuse a name with parts that the kind of index cannot say."""
    for field in fields:
        if getattr(node, field) is not None:
            raise InvalidIndexError(
                f"{node} is finer than {index} can say: it has no {said_of(field)} of {node.kind.meaning}."
            )


def _advice(node: NodeFields) -> str:
    if node.kind is NodeKind.ERROR:
        return (
            "Make an ActivationIndex with online_mlp_autoencoder_error (of neurons) or "
            "online_residual_mlp_autoencoder_error (of what the MLP adds)."
        )
    if node.kind is NodeKind.LAYER:
        return f"Write L{node.layer}MLP, L{node.layer}ATTN or L{node.layer}RESID."
    return "Write EMB or FINAL."
