"""The layers that a derived scalar is computed for."""

from __future__ import annotations

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import error_place
from neuron_explainer.activations.derived_scalars.losses.objective import Objective
from neuron_explainer.errors import AutoencoderMismatchError, MisconfiguredError
from neuron_explainer.vocabulary import axes
from neuron_explainer.vocabulary.derived_scalar_rows import ScalarLayers
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_DST = DerivedScalarType


def layers_of_scalar(bound: BoundConfig, dst: DerivedScalarType) -> tuple[int | None, ...]:
    """The layers that a scalar is computed for; (None,) for a scalar without layers.

    Raises:
        MissingSettingError: the configuration lacks autoencoders, a trace or a node.
        MisconfiguredError: the trace is not of a latent, or several layers are given but only one is allowed.
        AutoencoderMismatchError: the autoencoders are of a place that the scalar is not about, or a layer has none.
    """
    match dst.layers:
        case ScalarLayers.NONE:
            return (None,)
        case ScalarLayers.OF_NODE:
            return (bound.node_layer,)
        case ScalarLayers.OF_TRACED_LATENT:
            return (_layer_of_traced_latent(bound, dst),)
        case ScalarLayers.ONE if len(bound.layers) != 1:
            raise MisconfiguredError(
                f"{dst.value} is computed for all latents of one layer. Name one layer in layer_indices, not "
                f"{list(bound.layers)}."
            )
    if dst.autoencoder_node_type is None:
        return bound.layers
    return _layers_with_autoencoder(bound, dst, dst.autoencoder_node_type)


def _layer_of_traced_latent(bound: BoundConfig, dst: DerivedScalarType) -> int | None:
    if not bound.trace.node_type.is_autoencoder_latent:
        raise MisconfiguredError(
            f"{dst.value} is about a latent, but trace_config traces the node type {bound.trace.node_type.value}."
        )
    _check_place(bound, dst, bound.trace.node_type)
    return bound.trace.layer_index


def _layers_with_autoencoder(bound: BoundConfig, dst: DerivedScalarType, kind: NodeType) -> tuple[int, ...]:
    _check_place(bound, dst, kind)
    context = bound.autoencoder_context(kind)
    if bound.config.layer_indices is None or isinstance(bound.loss, Objective):  # a trace limits layers by itself
        return tuple(layer for layer in bound.layers if layer in context.layer_indices)
    for layer in bound.layers:
        context.get_autoencoder(layer)  # raises if the layer has no autoencoder
    return bound.layers


def _check_place(bound: BoundConfig, dst: DerivedScalarType, kind: NodeType) -> None:
    """Refuse a scalar that needs autoencoders of another place than those given."""
    context = bound.autoencoder_context(kind)
    if dst.error_place is not None:
        fits, needed = error_place(context) is dst.error_place, f"autoencoders whose error is {dst.error_place.value}"
    elif dst is _DST.AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT:
        fits, needed = context.dst is _DST.MLP_POST_ACT, f"autoencoders of {_DST.MLP_POST_ACT.name}"
    elif dst.layers in (ScalarLayers.OF_TRACED_LATENT, ScalarLayers.ONE):
        first = context.get_autoencoder(context.layer_indices[0])
        fits = context.dst.shape_spec_per_token_sequence == axes.CHANNELS and first.is_square
        needed = "autoencoders (not transcoders) of a place with the channels of the residual stream"
    else:
        return
    if not fits:
        raise AutoencoderMismatchError(f"{dst.value} needs {needed}; these are of {context.dst.value}.")
