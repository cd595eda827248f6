"""An edge is the same number from either end, in every family: soft caps, windows and query/key norms included.

One end is differentiated, the other written out.
"""

import contextlib
from collections.abc import Callable

import pytest
import torch

from helpers.derived_scalars import (
    EACH_STRUCTURE,
    FAMILIES,
    PROMPT,
    annotations_unchecked,
    autoencoders,
    context,
    derived,
)
from neuron_explainer.activations.derived_scalars.engine.positions import one_position
from neuron_explainer.activations.derived_scalars.indexing import AttnSubNodeIndex, NodeIndex
from neuron_explainer.models.autoencoders.latent_activations import Identity
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import AttnSubNode, NodeType

UPSTREAM: dict[str, Callable[[int], NodeIndex]] = {
    "neuron": lambda token: NodeIndex(NodeType.MLP_NEURON, 0, (token, 7)),
    "head": lambda token: NodeIndex(NodeType.ATTENTION_HEAD, 0, (token, 1, 3)),
    "latent": lambda token: NodeIndex(NodeType.AUTOENCODER_LATENT, 0, (token, 9)),
}
OUT_EDGES = {
    "neuron": D.MLP_OUT_EDGE_ATTRIBUTION,
    "head": D.ATTN_OUT_EDGE_ATTRIBUTION,
    "latent": D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION,
}


def head_part(part: AttnSubNode, layer: int, pair: tuple[int, int]) -> NodeIndex:
    return AttnSubNodeIndex(NodeType.ATTENTION_HEAD, layer, (*pair, 1), q_k_or_v=part)


# Each with the token that it reads: a head's query is of the token it attends from, its key and value of the other.
DOWNSTREAM = {
    "neuron": (NodeIndex(NodeType.MLP_NEURON, 1, (2, 6)), D.MLP_IN_EDGE_ATTRIBUTION, 2),
    "latent": (NodeIndex(NodeType.AUTOENCODER_LATENT, 1, (2, 9)), D.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION, 2),
    "query": (head_part(AttnSubNode.Q, 1, (4, 2)), D.ATTN_QUERY_IN_EDGE_ATTRIBUTION, 4),
    "key": (head_part(AttnSubNode.K, 1, (4, 2)), D.ATTN_KEY_IN_EDGE_ATTRIBUTION, 2),
    "value": (head_part(AttnSubNode.V, 1, (4, 2)), D.ATTN_VALUE_IN_EDGE_ATTRIBUTION, 2),
}
LAST_LAYER = {
    "neuron": NodeIndex(NodeType.MLP_NEURON, 2, (4, 5)),
    "query": head_part(AttnSubNode.Q, 2, (4, 3)),
    "key": head_part(AttnSubNode.K, 2, (5, 4)),
    "value": head_part(AttnSubNode.V, 2, (5, 4)),
}


def among_chosen(node: NodeIndex, family: str) -> NodeIndex:
    """The node; in a mixture of experts, a neuron of an expert that was chosen in place of one of the layer."""
    if node.node_type is not NodeType.MLP_NEURON or not context(family).get_or_create_model().config.n_experts:
        return node
    token = one_position(node.tensor_indices[0])
    neurons = derived(family, D.MLP_POST_ACT).activations(D.MLP_POST_ACT)[node.layer_index][token]
    return NodeIndex(NodeType.MLP_NEURON, node.layer_index, (token, int(neurons.abs().argmax())))


def check_from_both_ends(
    up: NodeIndex, out_edge: D, down: NodeIndex, in_edge: D, family: str, **options: object
) -> float:
    """The edge's value, once it is known to be the same from both."""
    incoming = derived(family, in_edge, node_index_for_attribution=up, **options)
    outgoing = derived(family, out_edge, node_index_for_attribution=down, **options)
    from_above = incoming.activations(in_edge)[down.layer_index][down.slices]
    from_below = outgoing.activations(out_edge)[up.layer_index][up.slices]
    torch.testing.assert_close(from_above, from_below, rtol=1e-8, atol=1e-14)
    return float(from_above)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("downstream", DOWNSTREAM)
@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_an_edge_to_the_next_layer_is_the_same_from_either_end(
    family: str, upstream: str, downstream: str, detach: bool
) -> None:
    down, in_edge, token = DOWNSTREAM[downstream]
    up, down = among_chosen(UPSTREAM[upstream](token), family), among_chosen(down, family)
    options = {
        "detach_layer_norm_scale_for_attribution": detach,
        "autoencoder_context": autoencoders(family, D.MLP_POST_ACT, activation=Identity()),
    }
    with annotations_unchecked() if detach else contextlib.nullcontext():
        edge = check_from_both_ends(up, OUT_EDGES[upstream], down, in_edge, family, **options)
    assert abs(edge) > 1e-9


@pytest.mark.parametrize("downstream", LAST_LAYER)
@pytest.mark.parametrize("family", FAMILIES)
def test_edges_to_the_last_layer_are_the_same_from_either_end(family: str, downstream: str) -> None:
    down, in_edge = among_chosen(LAST_LAYER[downstream], family), DOWNSTREAM[downstream][1]
    for up, out_edge in (
        (NodeIndex(NodeType.MLP_NEURON, 0, (4, 7)), D.MLP_OUT_EDGE_ATTRIBUTION),
        (NodeIndex(NodeType.ATTENTION_HEAD, 1, (4, 2, 3)), D.ATTN_OUT_EDGE_ATTRIBUTION),
    ):
        check_from_both_ends(among_chosen(up, family), out_edge, down, in_edge, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_is_downstream_has_edges(family: str) -> None:
    last = len(PROMPT) - 1  # the last layer's other tokens have no effect on the loss
    activations = derived(family, D.MLP_POST_ACT).activations(D.MLP_POST_ACT)
    node = NodeIndex(NodeType.MLP_NEURON, 1, (last, int(activations[1][last].abs().argmax())))
    incoming = derived(family, D.MLP_IN_EDGE_ATTRIBUTION, node_index_for_attribution=node)
    by_layer = incoming.activations(D.MLP_IN_EDGE_ATTRIBUTION)
    assert (by_layer[0] == 0).all()
    assert (by_layer[1] == 0).all()
    assert by_layer[2][last].abs().max() > 0
    assert (by_layer[2][:last] == 0).all()
    outgoing = derived(family, D.ATTN_OUT_EDGE_ATTRIBUTION, node_index_for_attribution=node)
    heads = outgoing.activations(D.ATTN_OUT_EDGE_ATTRIBUTION)
    assert heads[0].abs().max() > 0
    assert (heads[2] == 0).all()
    same_layer = heads[1].abs().max()  # a parallel residual's attention is not upstream of its layer's MLP
    assert (same_layer == 0) == context(family).config.parallel_residual
