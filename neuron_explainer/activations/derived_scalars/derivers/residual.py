"""Raw activations, and derived scalars of the residual stream and of whole layers' writes to it."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.local_gradient import local_residual_gradient
from neuron_explainer.activations.derived_scalars.derivers.logits import LogitsNeed
from neuron_explainer.activations.derived_scalars.derivers.needs import (
    FinalResidualGradient,
    ResidualBefore,
    before_start,
)
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation, derives, gradient
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, dense
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_PLACE = ActivationLocationType
_AFTER_ATTENTION = before_start(LocationWithinLayer.RESID_POST_ATTN)
_IN_ATTENTION = before_start(LocationWithinLayer.ATTN)
_IN_MLP = before_start(LocationWithinLayer.MLP)
_AFTER_MLP = before_start(LocationWithinLayer.END_OF_LAYER)


def raw_activation(activation: Neurons) -> Neurons:
    """What was recorded."""
    return activation


def raw_gradient(activation: Neurons) -> Neurons:
    """What was recorded; for all neurons, where those of experts that were not chosen have a gradient too."""
    has_more = isinstance(activation, RoutedTensor) and activation.complete is not None
    return dense(activation) if has_more else activation


def derives_raw_activation(dst: DerivedScalarType) -> None:
    """Register a raw activation, and its gradient."""
    place = dst.to_activation_location_type()
    derives(dst, activation=Activation(place))(raw_activation)
    derives(dst, pass_type=PassType.BACKWARD, activation=gradient(place))(raw_gradient)


derives(_DST.LOGITS, activation=LogitsNeed())(raw_activation)
derives(_DST.LOGITS, pass_type=PassType.BACKWARD, activation=gradient(_PLACE.LOGITS))(raw_activation)
derives_raw_activation(_DST.RESID_POST_EMBEDDING)
derives_raw_activation(_DST.RESID_DELTA_ATTN)
derives_raw_activation(_DST.RESID_POST_ATTN)
derives_raw_activation(_DST.RESID_DELTA_MLP)
derives_raw_activation(_DST.RESID_POST_MLP)
derives_raw_activation(_DST.ATTN_INPUT_LAYER_NORM_SCALE)
derives_raw_activation(_DST.MLP_INPUT_LAYER_NORM_SCALE)
derives_raw_activation(_DST.RESID_FINAL_LAYER_NORM_SCALE)
derives_raw_activation(_DST.ATTN_QUERY)
derives_raw_activation(_DST.ATTN_KEY)
derives_raw_activation(_DST.ATTN_VALUE)
derives_raw_activation(_DST.ATTN_QK_LOGITS)
derives_raw_activation(_DST.ATTN_QK_PROBS)
derives_raw_activation(_DST.ATTN_WEIGHTED_SUM_OF_VALUES)
derives_raw_activation(_DST.MLP_PRE_ACT)
derives_raw_activation(_DST.MLP_POST_ACT)

derives(_DST.PREVIOUS_LAYER_RESID_POST_MLP, activation=ResidualBefore())(raw_activation)
derives(
    _DST.PREVIOUS_LAYER_RESID_POST_MLP,
    pass_type=PassType.BACKWARD,
    activation=ResidualBefore(PassType.BACKWARD),
)(raw_activation)


@derives(_DST.ALWAYS_ONE, activation=Activation(_PLACE.RESID_POST_EMBEDDING))
@derives(_DST.ALWAYS_ONE, pass_type=PassType.BACKWARD, activation=Activation(_PLACE.RESID_POST_EMBEDDING))
def always_one(activation: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens 1"]:
    """1 for every token."""
    return torch.ones_like(activation[..., :1])


@derives(_DST.RESID_POST_EMBEDDING_NORM, activation=Activation(_PLACE.RESID_POST_EMBEDDING))
@derives(_DST.RESID_POST_ATTN_NORM, activation=Activation(_PLACE.RESID_POST_ATTN))
@derives(_DST.RESID_POST_MLP_NORM, activation=Activation(_PLACE.RESID_POST_MLP))
@derives(_DST.ATTN_LAYER_WRITE_NORM, activation=Activation(_PLACE.RESID_DELTA_ATTN))
@derives(_DST.MLP_LAYER_WRITE_NORM, activation=Activation(_PLACE.RESID_DELTA_MLP))
def residual_norm(activation: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens 1"]:
    """The Euclidean norm over channels."""
    return activation.norm(dim=-1, keepdim=True)


_G = FinalResidualGradient()


@derives(
    _DST.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
    activation=Activation(_PLACE.RESID_POST_EMBEDDING),
    direction=_G,
)
@derives(
    _DST.RESID_POST_EMBEDDING_PROJ_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    activation=Activation(_PLACE.RESID_POST_EMBEDDING),
    direction=local_residual_gradient,
)
@derives(
    _DST.RESID_POST_ATTN_PROJ_TO_FINAL_RESIDUAL_GRAD,
    activation=Activation(_PLACE.RESID_POST_ATTN),
    direction=_G,
    where=_AFTER_ATTENTION,
)
@derives(
    _DST.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD,
    activation=Activation(_PLACE.RESID_POST_MLP),
    direction=_G,
    where=_AFTER_MLP,
)
@derives(
    _DST.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    activation=Activation(_PLACE.RESID_DELTA_ATTN),
    direction=_G,
    where=_IN_ATTENTION,
)
@derives(
    _DST.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    activation=Activation(_PLACE.RESID_DELTA_MLP),
    direction=_G,
    where=_IN_MLP,
)
@derives(
    _DST.TOKEN_ATTRIBUTION,
    activation=Activation(_PLACE.RESID_POST_EMBEDDING),
    direction=gradient(_PLACE.RESID_POST_EMBEDDING),
)
def projection(
    activation: Float[Tensor, "batch tokens d_model"], direction: Float[Tensor, "batch tokens d_model"]
) -> Float[Tensor, "batch tokens 1"]:
    """The dot product, over channels, of what is written and a gradient."""
    return (activation * direction).sum(dim=-1, keepdim=True)
