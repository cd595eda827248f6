"""Derived scalars of autoencoder latents and errors.

Each name comes three times: for the only autoencoders given, and for the MLP's and attention's if both are given. A
latent's write is its decoder column; for autoencoders of MLP_POST_ACT it is taken through W_out, for those of the
heads' values through W_O, and then through the norm of the layer's output in families that have one.
"""

from functools import cache

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.latent_needs import (
    AutoencoderOf,
    OfflineInputOf,
    OnlineError,
    OnlineLatents,
    latents_have_gradient,
    latents_write_before_start,
    online_error_gradient,
    online_latent_gradient,
)
from neuron_explainer.activations.derived_scalars.derivers.latent_writes import (
    DirectionAmongLatents,
    LatentWrites,
    LatentWritesOf,
)
from neuron_explainer.activations.derived_scalars.derivers.local_gradient import local_residual_gradient
from neuron_explainer.activations.derived_scalars.derivers.mlp import among_neurons, neuron_write_norms
from neuron_explainer.activations.derived_scalars.derivers.needs import FinalResidualGradient, before_start_in_mlp
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import (
    Shared,
    derives,
    derives_for_autoencoders,
    shared,
)
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType, PassType

_DST = DerivedScalarType
_BACKWARD = PassType.BACKWARD


def encode(
    inputs: Float[Tensor, "batch tokens inputs"], autoencoder: Autoencoder
) -> Float[Tensor, "batch tokens latents"]:
    """act(W_enc (x - pre_bias) + latent_bias)."""
    return autoencoder.encode(inputs)


@cache
def offline_latents(kind: NodeType) -> Shared:
    """The latents of the recorded input, as a need; the same object for the same kind, so that it is computed once."""
    return shared(inputs=OfflineInputOf(kind), autoencoder=AutoencoderOf(kind))(encode)


def projection_on_final_gradient(kind: NodeType) -> DirectionAmongLatents:
    """g @ W_lat^T, with the gradient g of the model's backward pass."""
    return DirectionAmongLatents(kind, FinalResidualGradient())


def projection_on_local_gradient(kind: NodeType) -> DirectionAmongLatents:
    """g @ W_lat^T, with the gradient g of the traced activation, found locally."""
    return DirectionAmongLatents(kind, local_residual_gradient)


@derives_for_autoencoders(
    _DST.AUTOENCODER_LATENT,
    _DST.MLP_AUTOENCODER_LATENT,
    _DST.ATTENTION_AUTOENCODER_LATENT,
    latents=offline_latents,
)
@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_LATENT,
    _DST.ONLINE_MLP_AUTOENCODER_LATENT,
    _DST.ONLINE_ATTENTION_AUTOENCODER_LATENT,
    latents=OnlineLatents,
)
@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_LATENT,
    _DST.ONLINE_MLP_AUTOENCODER_LATENT,
    _DST.ONLINE_ATTENTION_AUTOENCODER_LATENT,
    pass_type=_BACKWARD,
    latents=online_latent_gradient,
)
def unchanged_latents(latents: Float[Tensor, "batch tokens latents"]) -> Float[Tensor, "batch tokens latents"]:
    """The latents, or the gradient with respect to them."""
    return latents


@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_WRITE,
    _DST.ONLINE_MLP_AUTOENCODER_WRITE,
    _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE,
    latents=OnlineLatents,
    writes=LatentWritesOf,
)
def latent_write(
    latents: Float[Tensor, "batch tokens latents"], writes: LatentWrites
) -> Float[Tensor, "batch tokens latents d_model"]:
    """lat * W_lat rows."""
    scaled = latents if writes.factor is None else latents * writes.factor
    return scaled.unsqueeze(-1) * writes.rows


@derives_for_autoencoders(
    _DST.AUTOENCODER_WRITE_NORM,
    _DST.MLP_AUTOENCODER_WRITE_NORM,
    _DST.ATTENTION_AUTOENCODER_WRITE_NORM,
    latents=offline_latents,
    writes=LatentWritesOf,
)
@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_WRITE_NORM,
    _DST.ONLINE_MLP_AUTOENCODER_WRITE_NORM,
    _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE_NORM,
    latents=OnlineLatents,
    writes=LatentWritesOf,
)
def latent_write_norm(
    latents: Float[Tensor, "batch tokens latents"], writes: LatentWrites
) -> Float[Tensor, "batch tokens latents"]:
    """lat * norm(W_lat rows)."""
    return latents * writes.norms


# The BACKWARD pass of act × grad repeats the values, as Transformer Debugger's does.
@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_ACT_TIMES_GRAD,
    _DST.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD,
    _DST.ONLINE_ATTENTION_AUTOENCODER_ACT_TIMES_GRAD,
    where=latents_have_gradient,
    latents=OnlineLatents,
    gradient=online_latent_gradient,
)
@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_ACT_TIMES_GRAD,
    _DST.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD,
    _DST.ONLINE_ATTENTION_AUTOENCODER_ACT_TIMES_GRAD,
    pass_type=_BACKWARD,
    where=latents_have_gradient,
    latents=OnlineLatents,
    gradient=online_latent_gradient,
)
def latent_act_times_grad(
    latents: Float[Tensor, "batch tokens latents"], gradient: Float[Tensor, "batch tokens latents"]
) -> Float[Tensor, "batch tokens latents"]:
    """lat * lat'."""
    return latents * gradient


@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    _DST.ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    where=latents_write_before_start,
    latents=OnlineLatents,
    projection=projection_on_final_gradient,
)
@derives_for_autoencoders(
    _DST.ONLINE_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    _DST.ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    where=latents_write_before_start,
    latents=OnlineLatents,
    projection=projection_on_local_gradient,
)
def latent_write_to_direction(
    latents: Float[Tensor, "batch tokens latents"], projection: Float[Tensor, "batch tokens latents"]
) -> Float[Tensor, "batch tokens latents"]:
    """lat * (g @ W_lat^T)."""
    return latents * projection


@derives_for_autoencoders(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR,
    _DST.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
    _DST.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
    error=OnlineError,
)
@derives_for_autoencoders(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR,
    _DST.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
    _DST.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
    pass_type=_BACKWARD,
    error=online_error_gradient,
)
def unchanged_error(error: Float[Tensor, "batch tokens inputs"]) -> Float[Tensor, "batch tokens inputs"]:
    """The error, or the gradient with respect to it."""
    return error


_ERROR = OnlineError(NodeType.MLP_AUTOENCODER_LATENT)
_ERROR_GRADIENT = online_error_gradient(NodeType.MLP_AUTOENCODER_LATENT)


@derives(_DST.ONLINE_MLP_AUTOENCODER_ERROR_WRITE_NORM, error=_ERROR, norms=neuron_write_norms)
def error_write_norm(
    error: Float[Tensor, "batch tokens neurons"], norms: Float[Tensor, "..."]
) -> Float[Tensor, "batch tokens neurons"]:
    """error * norm(W_out rows)."""
    return error * norms


@derives(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR_ACT_TIMES_GRAD,
    error=_ERROR,
    gradient=_ERROR_GRADIENT,
    where=before_start_in_mlp,
)
@derives(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR_ACT_TIMES_GRAD,
    pass_type=_BACKWARD,
    error=_ERROR,
    gradient=_ERROR_GRADIENT,
    where=before_start_in_mlp,
)
def error_act_times_grad(
    error: Float[Tensor, "batch tokens neurons"], gradient: Float[Tensor, "batch tokens neurons"]
) -> Float[Tensor, "batch tokens neurons"]:
    """error * error'."""
    return error * gradient


@derives(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR_WRITE_TO_FINAL_RESIDUAL_GRAD,
    error=_ERROR,
    projection=among_neurons(FinalResidualGradient()),
    where=before_start_in_mlp,
)
def error_write_to_direction(
    error: Float[Tensor, "batch tokens neurons"], projection: Float[Tensor, "batch tokens neurons"]
) -> Float[Tensor, "batch tokens neurons"]:
    """error * (g @ W_out^T)."""
    return error * projection
