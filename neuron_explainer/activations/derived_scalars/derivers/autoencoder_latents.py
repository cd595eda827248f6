"""Derived scalars of autoencoder latents and errors.

The names come three times: for the only autoencoders given, and for those of the MLP and of attention where both are.
A latent's write is its decoder column, taken through W_out for autoencoders of MLP_POST_ACT (through W_O for those of
the heads' values), times the norm that follows where there is one.
"""

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.latent_needs import (
    AutoencoderOf,
    OfflineInputOf,
    OnlineError,
    OnlineLatents,
    latents_have_gradient,
    latents_write_before_start,
)
from neuron_explainer.activations.derived_scalars.derivers.latent_writes import (
    DirectionAmongLatents,
    LatentWrites,
    LatentWritesOf,
)
from neuron_explainer.activations.derived_scalars.derivers.local_gradient import local_residual_gradient
from neuron_explainer.activations.derived_scalars.derivers.mlp import among_neurons, neuron_write_norms
from neuron_explainer.activations.derived_scalars.derivers.needs import FinalResidualGradient, before_start_in_mlp
from neuron_explainer.activations.derived_scalars.engine.bound_config import autoencoder_kind
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Shared, derives, shared
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType, PassType

_DST = DerivedScalarType
_MLP = NodeType.MLP_AUTOENCODER_LATENT
_BACKWARD = PassType.BACKWARD


def encode(
    inputs: Float[Tensor, "batch tokens inputs"], autoencoder: Autoencoder
) -> Float[Tensor, "batch tokens latents"]:
    """act(W_enc (x - pre_bias) + latent_bias)."""
    return autoencoder.encode(inputs)


def latents_as_they_are(latents: Float[Tensor, "batch tokens latents"]) -> Float[Tensor, "batch tokens latents"]:
    """The latents."""
    return latents


def latent_write(
    latents: Float[Tensor, "batch tokens latents"], writes: LatentWrites
) -> Float[Tensor, "batch tokens latents d_model"]:
    """lat * W_lat rows."""
    scaled = latents if writes.factor is None else latents * writes.factor
    return scaled.unsqueeze(-1) * writes.rows


def latent_write_norm(
    latents: Float[Tensor, "batch tokens latents"], writes: LatentWrites
) -> Float[Tensor, "batch tokens latents"]:
    """lat * norm(W_lat rows)."""
    return latents * writes.norms


def product(
    latents: Float[Tensor, "batch tokens latents"], other: Float[Tensor, "batch tokens latents"]
) -> Float[Tensor, "batch tokens latents"]:
    """lat * lat', or lat * (g @ W_lat^T)."""
    return latents * other


for _prefix, _kind in {
    "": NodeType.AUTOENCODER_LATENT,
    "MLP_": NodeType.MLP_AUTOENCODER_LATENT,
    "ATTENTION_": NodeType.ATTENTION_AUTOENCODER_LATENT,
}.items():
    _offline: Shared = shared(inputs=OfflineInputOf(_kind), autoencoder=AutoencoderOf(_kind))(encode)
    _online, _writes = OnlineLatents(_kind), LatentWritesOf(_kind)
    derives(DerivedScalarType[f"{_prefix}AUTOENCODER_LATENT"], latents=_offline)(latents_as_they_are)
    derives(DerivedScalarType[f"{_prefix}AUTOENCODER_WRITE_NORM"], latents=_offline, writes=_writes)(latent_write_norm)
    _name = f"ONLINE_{_prefix}AUTOENCODER"
    derives(DerivedScalarType[f"{_name}_LATENT"], latents=_online)(latents_as_they_are)
    derives(DerivedScalarType[f"{_name}_LATENT"], pass_type=_BACKWARD, latents=OnlineLatents(_kind, _BACKWARD))(
        latents_as_they_are
    )
    derives(DerivedScalarType[f"{_name}_WRITE"], latents=_online, writes=_writes)(latent_write)
    derives(DerivedScalarType[f"{_name}_WRITE_NORM"], latents=_online, writes=_writes)(latent_write_norm)
    for _pass_type in PassType:  # the reference repeats the values as the BACKWARD pass
        derives(
            DerivedScalarType[f"{_name}_ACT_TIMES_GRAD"],
            pass_type=_pass_type,
            where=latents_have_gradient(_kind),
            latents=_online,
            other=OnlineLatents(_kind, _BACKWARD),
        )(product)
    derives(
        DerivedScalarType[f"{_name}_WRITE_TO_FINAL_RESIDUAL_GRAD"],
        where=latents_write_before_start(_kind),
        latents=_online,
        other=DirectionAmongLatents(_kind, FinalResidualGradient()),
    )(product)
    derives(
        DerivedScalarType[f"{_name}_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD"],
        where=latents_write_before_start(_kind),
        latents=_online,
        other=DirectionAmongLatents(_kind, local_residual_gradient),
    )(product)


def error_as_it_is(error: Float[Tensor, "batch tokens inputs"]) -> Float[Tensor, "batch tokens inputs"]:
    """The error."""
    return error


for _dst in (
    _DST.ONLINE_MLP_AUTOENCODER_ERROR,
    _DST.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
    _DST.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
):
    for _pass_type in PassType:
        derives(_dst, pass_type=_pass_type, error=OnlineError(autoencoder_kind(_dst), _pass_type))(error_as_it_is)


@derives(_DST.ONLINE_MLP_AUTOENCODER_ERROR_WRITE_NORM, error=OnlineError(_MLP), norms=neuron_write_norms)
def error_write_norm(
    error: Float[Tensor, "batch tokens neurons"], norms: Float[Tensor, "..."]
) -> Float[Tensor, "batch tokens neurons"]:
    """Error * norm(W_out rows)."""
    return error * norms


@derives(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR_ACT_TIMES_GRAD,
    error=OnlineError(_MLP),
    other=OnlineError(_MLP, _BACKWARD),
    where=before_start_in_mlp,
)
@derives(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR_ACT_TIMES_GRAD,
    pass_type=_BACKWARD,
    error=OnlineError(_MLP),
    other=OnlineError(_MLP, _BACKWARD),
    where=before_start_in_mlp,
)
@derives(
    _DST.ONLINE_MLP_AUTOENCODER_ERROR_WRITE_TO_FINAL_RESIDUAL_GRAD,
    error=OnlineError(_MLP),
    other=among_neurons(FinalResidualGradient()),
    where=before_start_in_mlp,
)
def error_product(
    error: Float[Tensor, "batch tokens neurons"], other: Float[Tensor, "batch tokens neurons"]
) -> Float[Tensor, "batch tokens neurons"]:
    """Error * error', or error * (g @ W_out^T)."""
    return error * other
