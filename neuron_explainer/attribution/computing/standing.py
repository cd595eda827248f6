"""Which parts stand for the residual stream: heads and neurons, or autoencoders in their place.

Every write must be counted once. An autoencoder of a layer's MLP or attention stands for that layer's neurons or heads.
One of the residual stream stands for everything below it; of several, the last one does.
"""

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Where
from neuron_explainer.activations.derived_scalars.engine.residual_order import position_in
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType

_ATTN, _MLP = LocationWithinLayer.ATTN, LocationWithinLayer.MLP


def upstream_autoencoders(bound: BoundConfig) -> list[tuple[NodeType, int]]:
    """The kind and layer of every autoencoder whose latents write upstream of the objective."""
    found: list[tuple[NodeType, int]] = []
    for kind in bound.autoencoder_kinds:
        if bound.autoencoder_context(kind).dst is DerivedScalarType.MLP_PRE_ACT:
            raise InvalidRequestError(
                "Latents of MLP_PRE_ACT reach the residual stream through a nonlinearity, so they are not parts that "
                "add up. Give autoencoders of another place, or none."
            )
        for layer in bound.autoencoder_context(kind).layer_indices:
            if bound.is_upstream(kind, layer, bound.start.position):
                found.append((kind, layer))
    return found


def base(bound: BoundConfig) -> tuple[NodeType, int] | None:
    """The autoencoder that stands for everything below it; None without one of the residual stream."""
    of_stream = [
        (position_in(bound.location_of(kind), layer), kind, layer)
        for kind, layer in upstream_autoencoders(bound)
        if bound.location_of(kind) not in (_ATTN, _MLP)
    ]
    if not of_stream:
        return None
    _, kind, layer = max(of_stream, key=lambda each: each[0])
    return kind, layer


def base_position(bound: BoundConfig) -> int | None:
    """The position in the residual stream of `base`."""
    found = base(bound)
    return None if found is None else position_in(bound.location_of(found[0]), found[1])


def stands(bound: BoundConfig, location: LocationWithinLayer, layer: int | None) -> bool:
    """Whether the writes of a layer's attention or MLP are among the parts."""
    if layer is None:
        return False
    position, below = position_in(location, layer), base_position(bound)
    return position < bound.start.position and (below is None or position > below)


def _has_autoencoder(bound: BoundConfig, location: LocationWithinLayer, layer: int | None) -> bool:
    return any(
        bound.location_of(kind) is location and layer == own_layer for kind, own_layer in upstream_autoencoders(bound)
    )


def heads_stand(bound: BoundConfig, layer: int | None) -> bool:
    """Whether a layer's heads are among the parts."""
    return stands(bound, _ATTN, layer) and not _has_autoencoder(bound, _ATTN, layer)


def neurons_stand(bound: BoundConfig, layer: int | None) -> bool:
    """Whether a layer's neurons are among the parts."""
    return stands(bound, _MLP, layer) and not _has_autoencoder(bound, _MLP, layer)


def embedding_stands(bound: BoundConfig, layer: int | None) -> bool:
    """Whether the embedding is among the parts."""
    return layer is None and base(bound) is None


def latents_stand(kind: NodeType) -> Where:
    """The layers in which the latents of a kind of autoencoder are among the parts."""

    def where(bound: BoundConfig, layer: int | None) -> bool:
        if layer is None or (kind, layer) not in upstream_autoencoders(bound):
            return False
        location = bound.location_of(kind)
        return stands(bound, location, layer) if location in (_ATTN, _MLP) else (kind, layer) == base(bound)

    return where
