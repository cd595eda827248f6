"""Edges that lead to the node: what each component upstream writes, projected on the node's gradient."""

from neuron_explainer.activations.derived_scalars.derivers import attention, autoencoder_latents, mlp, residual
from neuron_explainer.activations.derived_scalars.derivers.latent_needs import OnlineLatents
from neuron_explainer.activations.derived_scalars.derivers.latent_writes import DirectionAmongLatents
from neuron_explainer.activations.derived_scalars.derivers.node import NodeGradient
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Where
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation, derives
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_PLACE = ActivationLocationType
_LATENT = NodeType.AUTOENCODER_LATENT


def upstream_of_node(writer: NodeType) -> Where:
    """The layers whose components of a kind write upstream of what the node reads."""

    def where(bound: BoundConfig, layer: int | None) -> bool:
        _, reader_position = bound.node_read
        return bound.is_upstream(writer, layer, reader_position)

    return where


derives(
    _DST.ATTN_OUT_EDGE_ATTRIBUTION,
    probs=Activation(_PLACE.ATTN_QK_PROBS),
    values=Activation(_PLACE.ATTN_VALUE),
    direction=attention.among_values(NodeGradient()),
    where=upstream_of_node(NodeType.ATTENTION_HEAD),
)(attention.write_to_direction)

derives(
    _DST.MLP_OUT_EDGE_ATTRIBUTION,
    post_act=Activation(_PLACE.MLP_POST_ACT),
    direction=mlp.among_active_neurons(NodeGradient()),
    where=upstream_of_node(NodeType.MLP_NEURON),
)(mlp.write_to_direction)

derives(
    _DST.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION,
    latents=OnlineLatents(_LATENT),
    projection=DirectionAmongLatents(_LATENT, NodeGradient()),
    where=upstream_of_node(_LATENT),
)(autoencoder_latents.latent_write_to_direction)

derives(
    _DST.TOKEN_OUT_EDGE_ATTRIBUTION,
    activation=Activation(_PLACE.RESID_POST_EMBEDDING),
    direction=NodeGradient(),
)(residual.projection)
