"""What a call asks for, resolved against its model and refused, where it cannot be had, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.engine.bound_config import (
    BoundConfig,
    autoencoder_kind,
    kind_of_place,
)
from neuron_explainer.activations.derived_scalars.engine.bound_loss import bind_loss
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import error_place
from neuron_explainer.activations.derived_scalars.engine.positions import check_node
from neuron_explainer.activations.derived_scalars.engine.prompts import token_id_of
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import DERIVERS
from neuron_explainer.activations.derived_scalars.engine.traces import check_trace
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    NodeIndex,
    TraceConfig,
)
from neuron_explainer.errors import (
    AutoencoderMismatchError,
    InvalidRequestError,
    MisconfiguredError,
    MissingSettingError,
    NothingToDifferentiateError,
    UnknownNameError,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction

_DST = DerivedScalarType

DstOrPair = DerivedScalarType | str | tuple[DerivedScalarType | str, DstConfig]
"""A type (or its value), alone or with a configuration of its own."""

_OF_THE_NODE = frozenset(
    {_DST.SINGLE_NODE_WRITE, _DST.SINGLE_NODE_WRITE_TO_FINAL_RESIDUAL_GRAD, _DST.GRAD_OF_SINGLE_SUBNODE_ATTRIBUTION}
)
_OF_THE_TRACED_LATENT = frozenset(
    {
        _DST.AUTOENCODER_LATENT_GRAD_WRT_RESIDUAL_INPUT,
        _DST.AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT,
        _DST.ATTN_WRITE_TO_LATENT,
        _DST.ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
        _DST.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
        _DST.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN,
    }
)
_OF_ALL_LATENTS_OF_ONE_LAYER = frozenset(
    {
        _DST.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS_BATCHED,
        _DST.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN_BATCHED,
    }
)


@dataclass(frozen=True)
class ScalarRequest:
    """One derived scalar, its values or its gradient, in some layers (None: in none)."""

    bound: BoundConfig
    dst: DerivedScalarType
    pass_type: PassType
    layers: tuple[int | None, ...]


def parse_requests(
    dsts: DstOrPair | Iterable[DstOrPair],
    config: DstConfig | None,
    loss: LossFnConfig | LossFunction | None,
    ablations: Sequence[AblationSpec],
) -> list[ScalarRequest]:
    """What a call asks for.

    Args:
        dsts: one type, several, or (type, config) pairs.
        config: the configuration of the types that bring none of their own.
        loss: what the backward pass starts from, if not a trace.
        ablations: what is overwritten.

    Raises:
        MisconfiguredError: a type lacks what it is about, or configurations do not go together.
        InvalidRequestError: something is not there: a type, a layer, a component.
    """
    if not isinstance(ablations, Sequence) or not all(isinstance(ablation, AblationSpec) for ablation in ablations):
        raise MisconfiguredError(f"ablations must be a list of AblationSpecs, not {ablations!r:.200}.")
    pairs = list(_pairs(dsts, config))
    if not pairs:
        raise InvalidRequestError("Nothing was asked for: give at least one DerivedScalarType.")
    model_context = pairs[0][1].get_model_context()
    model = pairs[0][1].get_or_create_model()
    prepared = bind_loss(loss, partial(token_id_of, model_context), model.device)
    bound_configs: dict[int, BoundConfig] = {}
    requests: dict[tuple[DerivedScalarType, PassType], ScalarRequest] = {}
    for dst, own_config in pairs:
        if id(own_config) not in bound_configs:
            if own_config.get_or_create_model() is not model:
                raise MisconfiguredError("All configurations of one call must be of the same model.")
            layers = own_config.layer_indices
            bound = BoundConfig(
                own_config,
                model,
                tuple(range(model.config.n_layers)) if layers is None else tuple(sorted(layers)),
                prepared,
                tuple(ablations),
            )
            _check_bound(bound)
            bound_configs[id(own_config)] = bound
        for request in _requests_of(bound_configs[id(own_config)], dst):
            key = request.dst, request.pass_type
            if key in requests and requests[key].bound is not request.bound:
                raise MisconfiguredError(f"{dst.value} was asked for with two configurations; derive one at a time.")
            requests[key] = request
    return list(requests.values())


def _pairs(
    dsts: DstOrPair | Iterable[DstOrPair], config: DstConfig | None
) -> Iterator[tuple[DerivedScalarType, DstConfig]]:
    if isinstance(dsts, str) or (isinstance(dsts, tuple) and len(dsts) == 2 and isinstance(dsts[1], DstConfig)):
        dsts = [dsts]
    if not isinstance(dsts, Iterable):
        raise InvalidRequestError(f"What to derive is one DerivedScalarType or several, not {dsts!r}.")
    for entry in dsts:
        dst, own_config = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, config)
        if own_config is None:
            raise MissingSettingError("model_context", f"a model to derive {dst} from; give a config")
        if not isinstance(own_config, DstConfig):
            raise MisconfiguredError(
                f"The configuration must be a DstConfig, not {type(own_config).__name__}; that of a loaded model is "
                "DstConfig(model_context=model)."
            )
        if not isinstance(dst, str) or dst not in set(_DST):
            raise UnknownNameError("derived scalar type", str(dst), _DST)
        yield DerivedScalarType[dst.upper()], own_config


def _requests_of(bound: BoundConfig, dst: DerivedScalarType) -> Iterator[ScalarRequest]:
    pass_types = [PassType.FORWARD]
    if bound.config.derive_gradients and (dst, PassType.BACKWARD) in DERIVERS:
        pass_types.append(PassType.BACKWARD)
    for pass_type in pass_types:
        if dst.requires_grad_for_pass_type(pass_type):
            _ = bound.start  # refused here if there is none
        yield ScalarRequest(bound, dst, pass_type, _layers_of(bound, dst))


def _layers_of(bound: BoundConfig, dst: DerivedScalarType) -> tuple[int | None, ...]:
    if dst.has_no_layers:
        return (None,)
    if dst in _OF_THE_NODE:
        return (bound.node_layer,)
    if dst in _OF_THE_TRACED_LATENT:
        if not bound.trace.node_type.is_autoencoder_latent:
            raise MisconfiguredError(
                f"{dst.value} is about a latent, and trace_config traces a {bound.trace.node_type.value}."
            )
        _check_place(bound, dst)
        return (bound.trace.layer_index,)
    if dst in _OF_ALL_LATENTS_OF_ONE_LAYER and len(bound.layers) != 1:
        raise MisconfiguredError(
            f"{dst.value} is about all latents of one layer: layer_indices must name that one, not "
            f"{list(bound.layers)}."
        )
    if "AUTOENCODER" not in dst.name and dst not in _OF_ALL_LATENTS_OF_ONE_LAYER:
        return bound.layers
    _check_place(bound, dst)
    context = bound.autoencoder_context(autoencoder_kind(dst))
    if bound.config.layer_indices is None:
        return tuple(layer for layer in bound.layers if layer in context.layer_indices)
    for layer in bound.layers:
        context.get_autoencoder(layer)  # refused here if there is none
    return bound.layers


def _check_place(bound: BoundConfig, dst: DerivedScalarType) -> None:
    """Refuse types that are about autoencoders of another place than those given."""
    node_type = bound.trace.node_type if dst in _OF_THE_TRACED_LATENT else autoencoder_kind(dst)
    context = bound.autoencoder_context(node_type)
    needed: str | None = None
    if dst.name.startswith("ONLINE") and "AUTOENCODER_ERROR" in dst.name:
        name = dst.name[: dst.name.index("_ERROR") + len("_ERROR")]
        if error_place(context).name != name:
            needed = f"those whose error is {name.lower()}"
    elif dst is _DST.AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT:
        needed = None if context.dst is _DST.MLP_POST_ACT else "MLP_POST_ACT"
    elif dst in _OF_THE_TRACED_LATENT | _OF_ALL_LATENTS_OF_ONE_LAYER:
        is_residual = context.dst.shape_spec_per_token_sequence[1:] == (Dimension.RESIDUAL_STREAM_CHANNELS,)
        needed = None if is_residual else "a place with the residual stream's channels"
    if needed is not None:
        raise AutoencoderMismatchError(f"{dst.value} needs autoencoders of {needed}; these are of {context.dst.value}.")


def _check_bound(bound: BoundConfig) -> None:
    """Refuse layers, components and ablations that the model does not have."""
    config, n_layers = bound.config, bound.model.config.n_layers
    for layer in bound.layers:
        if not 0 <= layer < n_layers:
            raise InvalidRequestError(f"layer_indices holds {layer}; the model has layers 0 to {n_layers - 1}.")
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
        _check_ablation(bound, ablation.index)


def _traces(config: DstConfig) -> Iterator[TraceConfig]:
    """The trace, the one downstream of it, and so on."""
    trace = config.trace_config
    while trace is not None:
        yield trace
        trace = trace.downstream_trace_config


def _size_of(bound: BoundConfig, index: NodeIndex | ActivationIndex, dimension: Dimension) -> int | None:
    """How long an axis is that an index is about; None where the prompt decides it."""
    if dimension is not Dimension.AUTOENCODER_LATENTS:
        return bound.model.config.size_of(dimension)
    node_type = index.node_type if isinstance(index, NodeIndex) else kind_of_place(index.activation_location_type)
    return bound.autoencoder(node_type, index.layer_index).n_latents


def _check_ablation(bound: BoundConfig, index: ActivationIndex) -> None:
    """Refuse what cannot be overwritten: places of autoencoders that are not there, gradients that are not computed."""
    place = index.activation_location_type
    located = place, index.layer_index
    if place.is_online_autoencoder_place:
        kind = kind_of_place(place)
        bound.autoencoder(kind, index.layer_index)
        if "ERROR" in place.name and error_place(bound.autoencoder_context(kind)) is not place:
            raise AutoencoderMismatchError(
                f"{place.value} is not a place of autoencoders of {bound.autoencoder_context(kind).dst.value}."
            )
        located = bound.autoencoder_place(kind, index.layer_index)
    if index.pass_type is PassType.BACKWARD and not bound.has_gradient(*located):
        raise NothingToDifferentiateError(
            f"The gradient at {place.value} of layer {index.layer_index} cannot be overwritten: the backward pass "
            "starts before it."
        )
