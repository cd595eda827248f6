"""Derived scalars of MLP neurons: what each writes to the residual stream, and its effect on a loss or trace.

A neuron writes its activation times its row of W_out. In families that normalise the MLP's output, a write is what is
added after that norm, with its scale held constant.
"""

from functools import cache

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.local_gradient import local_residual_gradient
from neuron_explainer.activations.derived_scalars.derivers.needs import (
    BLOCK,
    FinalResidualGradient,
    PostNormOf,
    before_start_in_mlp,
)
from neuron_explainer.activations.derived_scalars.engine.evaluation import Need
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import (
    Activation,
    Shared,
    derives,
    gradient,
    shared,
)
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.models.layers.routed import Neurons, product, values_of
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_POST_ACT = Activation(ActivationLocationType.MLP_POST_ACT)
POST_NORM = PostNormOf(LocationWithinLayer.MLP)


@derives(_DST.RESID_DELTA_MLP_FROM_MLP_POST_ACT, post_act=_POST_ACT, block=BLOCK, post_norm=POST_NORM)
def write_of_all_neurons(
    post_act: Neurons, block: Block, post_norm: PostNorm | None
) -> Float[Tensor, "batch tokens d_model"]:
    """m @ W_out, without the bias."""
    write: Tensor = block.mlp.write(post_act)
    return write if post_norm is None else post_norm.of_direction(write)


@derives(_DST.MLP_WRITE, post_act=_POST_ACT, block=BLOCK, post_norm=POST_NORM)
def write_of_each_neuron(post_act: Neurons, block: Block, post_norm: PostNorm | None) -> Neurons:
    """m[n] * W_out[n]: (batch, tokens, neurons, d_model)."""
    write: Neurons = block.mlp.write_of_each(post_act)
    if post_norm is not None:
        values = values_of(write)
        values.mul_(post_norm.factor.unflatten(1, (-1, *[1] * (values.ndim - 3))))
    return write


@shared(block=BLOCK, post_norm=POST_NORM)
def neuron_write_norms(block: Block, post_norm: PostNorm | None) -> Float[Tensor, "..."]:
    """The norm of each neuron's row of W_out: (neurons,), or (batch, tokens, neurons) if the output is normalised."""
    norms: Tensor = block.mlp.write_norms(None if post_norm is None else post_norm.gain)
    dtype = block.attention.output_weight.dtype
    return norms.to(dtype) if post_norm is None else (norms * post_norm.inverse_scale).to(dtype)


@derives(_DST.MLP_WRITE_NORM, post_act=_POST_ACT, norms=neuron_write_norms)
def write_norm(post_act: Neurons, norms: Float[Tensor, "..."]) -> Neurons:
    """m * norm(W_out row): the length of the write, with the activation's sign."""
    return post_act * norms


@derives(
    _DST.MLP_ACT_TIMES_GRAD,
    post_act=_POST_ACT,
    post_act_gradient=gradient(ActivationLocationType.MLP_POST_ACT),
    where=before_start_in_mlp,
)
def act_times_grad(post_act: Neurons, post_act_gradient: Neurons) -> Neurons:
    """m * m'."""
    return product(post_act, post_act_gradient)


def direction_among_neurons(
    direction: Float[Tensor, "batch tokens d_model"],
    block: Block,
    post_norm: PostNorm | None,
    post_act: Neurons | None = None,
) -> Neurons:
    """direction @ W_out^T: each neuron's write per unit of activation, projected on a direction.

    With `post_act`, of the neurons that it has: in a mixture of experts, those of the chosen experts.
    """
    if post_norm is not None:
        direction = post_norm.of_direction(direction)
    projected: Neurons = block.mlp.along(direction, post_act)
    return projected


@cache
def among_neurons(direction: Need) -> Shared:
    """`direction_among_neurons` as a need; the same object for the same direction, so that it is computed once."""
    return shared(direction=direction, block=BLOCK, post_norm=POST_NORM)(direction_among_neurons)


@cache
def among_active_neurons(direction: Need) -> Shared:
    """As `among_neurons`, but of a mixture of experts only those of the chosen experts."""
    return shared(direction=direction, block=BLOCK, post_norm=POST_NORM, post_act=_POST_ACT)(direction_among_neurons)


@derives(
    _DST.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    post_act=_POST_ACT,
    direction=among_active_neurons(FinalResidualGradient()),
    where=before_start_in_mlp,
)
@derives(
    _DST.MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    post_act=_POST_ACT,
    direction=among_active_neurons(local_residual_gradient),
    where=before_start_in_mlp,
)
def write_to_direction(post_act: Neurons, direction: Neurons) -> Neurons:
    """m * (g @ W_out^T)."""
    return product(post_act, direction)
