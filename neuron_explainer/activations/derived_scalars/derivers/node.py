"""The node whose edges are derived (`DstConfig.node_index_for_attribution`): what it writes, and its gradient."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.latent_needs import OnlineLatents
from neuron_explainer.activations.derived_scalars.derivers.latent_writes import LatentWritesOf
from neuron_explainer.activations.derived_scalars.derivers.needs import FinalResidualGradient, PostNormOf
from neuron_explainer.activations.derived_scalars.derivers.residual import projection
from neuron_explainer.activations.derived_scalars.engine import recompute
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.activations.derived_scalars.engine.positions import component_of, one_position
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation, Scalar, derives
from neuron_explainer.activations.derived_scalars.indexing import AttnSubNodeIndex, PreOrPostAct
from neuron_explainer.errors import MissingSettingError
from neuron_explainer.models.layers.routed import Neurons, dense, one_neuron
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import AttnSubNode, LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_PLACE = ActivationLocationType
_BACKWARD = PassType.BACKWARD
_POST = PreOrPostAct.POST


@dataclass(frozen=True)
class NodeWrite(Need):
    """What the node writes to the residual stream: a vector at its token, 0 at the others."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The node's activation, and everything else that its write is computed from."""
        for need in self._parts(bound):
            yield from need.recordings(bound, bound.node_layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens d_model"]:
        """The write, computed once."""
        write: Tensor = evaluation.once(self, None, lambda: self._computed(evaluation))
        return write

    def _parts(self, bound: BoundConfig) -> tuple[Need, ...]:
        match bound.node.node_type:
            case NodeType.ATTENTION_HEAD:
                parts: tuple[Need, ...] = (
                    Activation(_PLACE.ATTN_QK_PROBS),
                    Activation(_PLACE.ATTN_VALUE),
                    PostNormOf(LocationWithinLayer.ATTN),
                )
            case NodeType.MLP_NEURON:
                parts = (Activation(_PLACE.MLP_POST_ACT), PostNormOf(LocationWithinLayer.MLP))
            case node_type:
                parts = (OnlineLatents(node_type), LatentWritesOf(node_type))
        return parts

    def _computed(self, evaluation: Evaluation) -> Tensor:
        bound, node = evaluation.bound, evaluation.bound.node
        block, layer = bound.block(node.layer_index), bound.node_layer
        token, component = one_position(node.tensor_indices[0]), component_of(node)
        values = [part.value(evaluation, layer) for part in self._parts(bound)]
        if node.node_type is NodeType.ATTENTION_HEAD:
            probs, head_values, post_norm = values
            attended_to = one_position(node.tensor_indices[1])
            weighted = probs[:, token, attended_to, component, None] * head_values[:, attended_to, component]
            vector = weighted @ block.attention.output_by_head()[component]
        elif node.node_type is NodeType.MLP_NEURON:
            post_act, post_norm = values
            vector = one_neuron(post_act, token, component)[:, None] * block.mlp.write_direction(component)
        else:
            latents, writes = values
            post_norm = None
            vector = latents[:, token, component, None] * writes.rows[component]
            if writes.factor is not None:
                vector = vector * writes.factor[:, token]
        if post_norm is not None:
            vector = vector * post_norm.factor[:, token]
        write = vector.new_zeros(evaluation.n_prompts, evaluation.n_tokens, vector.shape[-1])
        write[:, token] = vector
        return write.to(bound.model.dtype)


@dataclass(frozen=True)
class NodeGradient(Need):
    """The gradient of act * stopgrad(act') at the node, with respect to the residual stream before it."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The residual stream, and the gradient act'."""
        residual, _ = bound.node_read
        yield Recorded(*residual)
        yield from self._act_gradient(bound).recordings(bound, bound.node_layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens d_model"]:
        """The gradient, computed once."""
        gradient: Tensor = evaluation.once(self, None, lambda: self._computed(evaluation))
        return gradient

    def _act_gradient(self, bound: BoundConfig) -> Need:
        node = bound.node
        if node.node_type is NodeType.MLP_NEURON:
            return Activation(_PLACE.MLP_POST_ACT, _BACKWARD)
        if node.node_type is not NodeType.ATTENTION_HEAD:
            return OnlineLatents(node.node_type, _BACKWARD)
        if not isinstance(node, AttnSubNodeIndex):
            raise MissingSettingError(
                "node_index_for_attribution", "an AttnSubNodeIndex, which names a head's Q, K or V"
            )
        is_value = node.q_k_or_v is AttnSubNode.V
        return Activation(_PLACE.ATTN_WEIGHTED_SUM_OF_VALUES if is_value else _PLACE.ATTN_QK_PROBS, _BACKWARD)

    def _computed(self, evaluation: Evaluation) -> Tensor:
        bound = evaluation.bound
        residual, _ = bound.node_read
        act_gradient: Neurons = self._act_gradient(bound).value(evaluation, bound.node_layer)
        with torch.enable_grad():
            resid = evaluation.recorded(Recorded(*residual)).detach().requires_grad_()
            attribution = _attribution(bound, resid, act_gradient)
            (gradient,) = torch.autograd.grad(attribution.sum(), resid)
        return gradient


def _attribution(
    bound: BoundConfig, resid: Float[Tensor, "batch tokens d_model"], act_gradient: Neurons
) -> Float[Tensor, " batch"]:
    """act * act' at the node of each prompt, as a function of the residual stream before the node."""
    node, block = bound.node, bound.block(bound.node_layer)
    detach = bound.config.detach_layer_norm_scale_for_attribution
    if isinstance(node, AttnSubNodeIndex):
        return _attribution_of_head(bound, node, resid, dense(act_gradient))
    token, component = one_position(node.tensor_indices[0]), component_of(node)
    resid = recompute.up_to(bound, resid, token)
    which = slice(component, component + 1)
    if node.node_type is NodeType.MLP_NEURON:
        acts = recompute.neurons(block, resid, detach, _POST)[..., which]
    else:
        acts = recompute.latents(bound, node.node_type, bound.node_layer, resid, detach, _POST, which)
    return acts[:, token, 0] * one_neuron(act_gradient, token, component)


def _attribution_of_head(
    bound: BoundConfig, node: AttnSubNodeIndex, resid: Float[Tensor, "batch tokens d_model"], act_gradient: Tensor
) -> Float[Tensor, " batch"]:
    """`_attribution` of a head, through its queries, keys or values."""
    block, detach = bound.block(bound.node_layer), bound.config.detach_layer_norm_scale_for_attribution
    token, component = one_position(node.tensor_indices[0]), component_of(node)
    resid = recompute.up_to(bound, resid, token)
    attended_to = one_position(node.tensor_indices[1])
    logits = recompute.attention_logits(
        block,
        resid,
        detach,
        through_queries=node.q_k_or_v is AttnSubNode.Q,
        through_keys=node.q_k_or_v is AttnSubNode.K,
    )
    probs = block.qk_probs(logits[:, token : token + 1])[:, 0, attended_to, component]
    if node.q_k_or_v is not AttnSubNode.V:
        return probs * act_gradient[:, token, attended_to, component]
    values = recompute.values(block, resid, detach)[:, attended_to, component]
    return probs * (values * act_gradient[:, token, component]).sum(dim=-1)


@derives(_DST.SINGLE_NODE_WRITE, write=NodeWrite())
@derives(_DST.GRAD_OF_SINGLE_SUBNODE_ATTRIBUTION, write=NodeGradient())
def vector_of_node(write: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens d_model"]:
    """The node's write, or the gradient of its act × grad."""
    return write


derives(
    _DST.SINGLE_NODE_WRITE_TO_FINAL_RESIDUAL_GRAD,
    activation=Scalar(_DST.SINGLE_NODE_WRITE),
    direction=FinalResidualGradient(),
    where=lambda bound, layer: bound.is_upstream(bound.node.node_type, layer, bound.start.position),
)(projection)
