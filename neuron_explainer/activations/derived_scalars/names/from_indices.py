"""The parts of the name of what an index names."""

from functools import cache
from typing import Any

from neuron_explainer.activations.attention_utils import index_to_pair
from neuron_explainer.activations.derived_scalars.index_fields import TensorIndex
from neuron_explainer.activations.derived_scalars.indices import (
    ActivationIndex,
    AttnSubNodeIndex,
    DerivedScalarIndex,
    NodeIndex,
)
from neuron_explainer.activations.derived_scalars.names.kinds import (
    NodeKind,
    autoencoder_of_node_type,
    kind_of_node_type,
)
from neuron_explainer.activations.derived_scalars.trace_config import TraceConfig
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import AttnSubNode, LocationWithinLayer, NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_KIND_OF_LOCATION = {
    LocationWithinLayer.END_OF_PREV_LAYER: NodeKind.START,
    LocationWithinLayer.ATTN: NodeKind.ATTENTION,
    LocationWithinLayer.RESID_POST_ATTN: NodeKind.MIDDLE,
    LocationWithinLayer.MLP: NodeKind.MLP,
    LocationWithinLayer.END_OF_LAYER: NodeKind.RESIDUAL,
}
_KIND_OF_AXIS: dict[Dimension | None, NodeKind] = {
    Dimension.AUTOENCODER_LATENTS: NodeKind.LATENT,
    Dimension.ATTN_HEADS: NodeKind.HEAD,
    Dimension.MLP_ACTS: NodeKind.NEURON,
    Dimension.VOCAB_SIZE: NodeKind.VOCAB,
}
_PART = {
    ActivationLocationType.ATTN_QUERY: "q",
    ActivationLocationType.ATTN_KEY: "k",
    ActivationLocationType.ATTN_VALUE: "v",
}
_OF_FINAL_NORM = (
    ActivationLocationType.RESID_POST_FINAL_LAYER_NORM,
    ActivationLocationType.RESID_FINAL_LAYER_NORM_SCALE,
)
_SUBNODE = {AttnSubNode.Q: "q", AttnSubNode.K: "k", AttnSubNode.V: "v"}
_Axes = tuple[Dimension | None, ...]


def fields_of_index(index: "NodeIndex | ActivationIndex | DerivedScalarIndex | TraceConfig") -> dict[str, Any]:
    """The arguments of NodeFields for an index. What an index says of gradients, a name does not."""
    if isinstance(index, TraceConfig):
        through = index.attention_trace_type
        part = {} if through is None else {"part": through.value.lower()}
        return {**fields_of_index(index.node_index), **part}
    if isinstance(index, NodeIndex):
        fields = _fields(index, index.node_type, None, None)
        if isinstance(index, AttnSubNodeIndex):
            fields["part"] = _SUBNODE[index.q_k_or_v]
        elif index.node_type is NodeType.QK_CHANNEL:
            fields["part"] = "qk"
        if fields["channel"] is None and _names_channels(index.node_type):
            fields["channel"] = "All"
        return fields
    if isinstance(index, ActivationIndex):
        place = index.activation_location_type
        return _fields(index, place.node_type, place.location_within_layer, place)
    dst = index.dst
    return _fields(index, dst.node_type, dst.location_within_layer, _place_of(dst.value))


def _names_channels(node_type: NodeType) -> bool:
    return node_type in (NodeType.QK_CHANNEL, NodeType.V_CHANNEL, NodeType.RESIDUAL_STREAM_CHANNEL)


@cache
def _place_of(dst: str) -> ActivationLocationType | None:
    """The place of a derived scalar that is a raw activation, which has the name of the place."""
    return ActivationLocationType.__members__.get(dst.upper())


def _fields(
    index: NodeIndex | ActivationIndex | DerivedScalarIndex,
    node_type: NodeType,
    location: LocationWithinLayer | None,
    place: ActivationLocationType | None,
) -> dict[str, Any]:
    token, attended_to, numbers = _by_axis(index.tensor_indices, index.dimensions)
    fields: dict[str, Any] = {
        "kind": _kind(node_type, location, place, index.layer_index, numbers),
        "layer": index.layer_index,
        "token": token,
        "attended_to": attended_to,
        "autoencoder": autoencoder_of_node_type(node_type),
        "part": None if place is None else _PART.get(place),
        "channel": None,
    }
    for dimension, number in numbers.items():
        if fields["kind"] is NodeKind.ERROR or dimension not in _KIND_OF_AXIS:
            fields["channel"] = number  # an error's axis is that of its autoencoder's input
        elif _KIND_OF_AXIS[dimension] is fields["kind"]:
            fields["component"] = "All" if number is None else number
        else:
            fields["head"] = number  # a head's write to a latent
    return fields


def _by_axis(
    entries: tuple[TensorIndex, ...], dimensions: _Axes
) -> tuple[int | None, int | None, dict[Dimension | None, int | None]]:
    """The token, the token attended to, and the numbers on the other axes but those of length 1."""
    token = attended_to = None
    numbers: dict[Dimension | None, int | None] = {}
    for entry, dimension in zip(entries, dimensions, strict=True):
        position = entry if isinstance(entry, int) else None
        if dimension is Dimension.SEQUENCE_TOKENS:
            token = position
        elif dimension is Dimension.ATTENDED_TO_SEQUENCE_TOKENS:
            attended_to = position
        elif dimension is Dimension.SEQUENCE_TOKEN_PAIRS:
            token, attended_to = (None, None) if position is None else index_to_pair(position)
        elif dimension is not Dimension.SINGLETON:
            numbers[dimension] = position
    return token, attended_to, numbers


def _kind(
    node_type: NodeType,
    location: LocationWithinLayer | None,
    place: ActivationLocationType | None,
    layer: int | None,
    numbers: dict[Dimension | None, int | None],
) -> NodeKind:
    kind = kind_of_node_type(node_type)
    if kind in (NodeKind.ERROR, NodeKind.EMBEDDING):
        return kind
    for dimension, kind_of_axis in _KIND_OF_AXIS.items():
        if dimension in numbers:
            return kind_of_axis
    if location is not None:
        return _KIND_OF_LOCATION[location]
    if layer is not None:
        return NodeKind.LAYER
    if place in _OF_FINAL_NORM:
        return NodeKind.FINAL
    return NodeKind.EMBEDDING if numbers else NodeKind.MODEL
