"""Before the model runs, refuse layers and components that it does not have, and impossible ablations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import error_place
from neuron_explainer.activations.derived_scalars.engine.positions import check_node
from neuron_explainer.activations.derived_scalars.engine.traces import check_trace
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex, NodeIndex, TraceConfig
from neuron_explainer.errors import AutoencoderMismatchError, NothingToDifferentiateError
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NodeType, PassType


def check_bound(bound: BoundConfig) -> None:
    """Refuse components and ablations that the model does not have.

    Raises:
        IndexOutOfRangeError: an index names a layer or a component that is out of range.
        InvalidRequestError: the trace or the node cannot be computed, or values do not fit what they overwrite.
        AutoencoderMismatchError: an ablation is of an error that these autoencoders do not have.
        NothingToDifferentiateError: an ablation overwrites a gradient that is not computed.
    """
    config, n_layers = bound.config, bound.model.config.n_layers
    named: list[NodeIndex | ActivationIndex | None] = [trace.node_index for trace in _traces(config)]
    named += [config.node_index_for_attribution, config.activation_index_for_fake_grad]
    named += [config.node_index_for_attention_write]
    named += [ablation.index for ablation in bound.ablations]
    for index in named:
        if index is not None:
            index.check_against(n_layers, partial(_size_of, bound, index))
    if config.trace_config is not None:
        check_trace(config.trace_config, has_loss=bound.loss is not None)
    if config.node_index_for_attribution is not None:
        check_node(config.node_index_for_attribution)
    for ablation in bound.ablations:
        ablation.check_values(partial(_size_of, bound, ablation.index))
        _check_ablation(bound, ablation.index)


def _traces(config: DstConfig) -> Iterator[TraceConfig]:
    """The trace, the one downstream of it, and so on."""
    trace = config.trace_config
    while trace is not None:
        yield trace
        trace = trace.downstream_trace_config


def _size_of(bound: BoundConfig, index: NodeIndex | ActivationIndex, dimension: Dimension) -> int | None:
    """How long an axis of an index is; None if that depends on the prompt."""
    if dimension is not Dimension.AUTOENCODER_LATENTS:
        return bound.model.config.size_of(dimension)
    kind = index.node_type if isinstance(index, NodeIndex) else index.activation_location_type.autoencoder_node_type
    return bound.autoencoder(kind or NodeType.AUTOENCODER_LATENT, index.layer_index).n_latents


def _check_ablation(bound: BoundConfig, index: ActivationIndex) -> None:
    """Refuse to overwrite a place of autoencoders that does not exist, or a gradient that is not computed."""
    place = index.activation_location_type
    located = place, index.layer_index
    if (kind := place.autoencoder_node_type) is not None:
        bound.autoencoder(kind, index.layer_index)
        context = bound.autoencoder_context(kind)
        if place.is_autoencoder_error and error_place(context) is not place:
            raise AutoencoderMismatchError(
                f"{place.value} is not a place of autoencoders of {context.dst.value}. "
                f"Their error is {error_place(context).value}."
            )
        located = bound.autoencoder_place(kind, index.layer_index)
    if index.pass_type is PassType.BACKWARD and not bound.has_gradient(*located):
        raise NothingToDifferentiateError(
            f"The gradient at {place.value} of layer {index.layer_index} cannot be overwritten: the backward pass "
            "starts before it."
        )
