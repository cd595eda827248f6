"""The order of events along the residual stream, which decides what is upstream of what.

Every place has a position, an integer: -1 for the embedding, then five for each layer (end of the previous layer <
attention < after attention < MLP < end of the layer). The end of a layer is upstream of what the next layer reads,
although the two are the same tensor. A component reads at the position of `Block.attention_reads_from` or
`Block.mlp_reads_from`. So in families whose MLP runs in parallel with attention, the attention of the same layer is not
upstream of the MLP.
"""

from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.block import Block
from neuron_explainer.vocabulary.nodes import LocationWithinLayer
from neuron_explainer.vocabulary.places import ActivationLocationType

EMBEDDING_POSITION = -1
_OFFSET = {location: offset for offset, location in enumerate(LocationWithinLayer)}


def position_in(location: LocationWithinLayer, layer: int) -> int:
    """The position of a location in a layer."""
    return len(_OFFSET) * layer + _OFFSET[location]


def end_position(n_layers: int) -> int:
    """The position of the residual stream after the last layer."""
    return position_in(LocationWithinLayer.END_OF_LAYER, n_layers - 1)


def position_of_place(place: ActivationLocationType, layer: int | None, n_layers: int) -> int:
    """The position of a place; places after the last layer (final norm, logits) come after all others."""
    if place is ActivationLocationType.RESID_POST_EMBEDDING:
        return EMBEDDING_POSITION
    location = place.location_within_layer
    if layer is None or location is None:
        return end_position(n_layers) + 1
    return position_in(location, layer)


def read_location(block: Block, location: LocationWithinLayer) -> PlaceAndLayer:
    """The residual-stream place, with its layer, that a layer's attention or MLP reads."""
    return block.mlp_reads_from if location is LocationWithinLayer.MLP else block.attention_reads_from


def read_position(block: Block, location: LocationWithinLayer) -> int:
    """The position at which a layer's attention or MLP reads the residual stream.

    Whatever writes before it is upstream. The embedding, which writes at -1, is upstream of everything.
    """
    place, _ = read_location(block, location)
    is_after_attention = place is ActivationLocationType.RESID_POST_ATTN
    here = LocationWithinLayer.RESID_POST_ATTN if is_after_attention else LocationWithinLayer.END_OF_PREV_LAYER
    return position_in(here, block.layer)
