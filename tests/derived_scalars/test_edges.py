"""Edges between one node and the others: against plain autograd on a forward pass written out apart."""

import pytest
import torch

from helpers.derived_scalars import PROMPT, autoencoders, close, context, derived, logit_difference
from helpers.functional_forward import FAMILIES, forward, reads_from
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.indexing import AttnSubNodeIndex, NodeIndex
from neuron_explainer.vocabulary.nodes import AttnSubNode, NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place
from neuron_explainer.vocabulary.weights import WeightLocationType

OF_ATTENTION = {"query": Place.ATTN_QK_PROBS, "key": Place.ATTN_QK_PROBS, "value": Place.ATTN_WEIGHTED_SUM_OF_VALUES}


def detach_other_inputs(part, layer):
    """An edit that lets gradients through one of a head's inputs alone, at a layer."""
    kept = {"query": Place.ATTN_QUERY, "key": Place.ATTN_KEY, "value": Place.ATTN_VALUE}.get(part)
    inputs = {Place.ATTN_QUERY, Place.ATTN_KEY, Place.ATTN_VALUE}

    def edit(place, at_layer, tensor):
        is_other = at_layer == layer and place in inputs and place is not kept and kept is not None
        return tensor.detach() if is_other else tensor

    return edit


def gradients_of_loss(family):
    """The gradient of the logit difference at every place."""
    found = forward(family, PROMPT, edit=lambda place, layer, x: x if x.requires_grad else x.requires_grad_())
    loss = logit_difference(found[Place.LOGITS, None])
    keys = [key for key in found if key[0] is not Place.LOGITS]
    gradients = torch.autograd.grad(loss, [found[key] for key in keys], allow_unused=True)
    return {key: value.detach() for key, value in found.items()}, dict(zip(keys, gradients, strict=True))


def as_function_of_residual(family, residual, detached_scales, edit, quantity):
    """A quantity of the pass as a function of the residual stream at one place, everything before it being fixed."""

    def function(resid):
        def replace(place, layer, tensor):
            return resid if (place, layer) == residual else edit(place, layer, tensor)

        return quantity(forward(family, PROMPT, edit=replace, detached_scales=detached_scales))

    return function


def scale_of(part, layer):
    is_mlp = part in ("neuron", "latent")
    return Place.MLP_INPUT_LAYER_NORM_SCALE if is_mlp else Place.ATTN_INPUT_LAYER_NORM_SCALE, layer


def latents_of(autoencoder, found, layer):
    inputs = found[Place.MLP_POST_ACT, layer]
    return ((inputs - autoencoder.pre_bias) @ autoencoder.encoder_weight.T + autoencoder.latent_bias).relu()


LAYER, FROM, TO, HEAD, NEURON, LATENT = 2, 5, 2, 1, 5, 7


def downstream_node(part):
    if part == "neuron":
        return NodeIndex(NodeType.MLP_NEURON, LAYER, (FROM, NEURON))
    if part == "latent":
        return NodeIndex(NodeType.AUTOENCODER_LATENT, LAYER, (FROM, LATENT))
    sub_node = {"query": AttnSubNode.Q, "key": AttnSubNode.K, "value": AttnSubNode.V}[part]
    return AttnSubNodeIndex(NodeType.ATTENTION_HEAD, LAYER, (FROM, TO, HEAD), q_k_or_v=sub_node)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("part", ["neuron", "latent", "query", "key", "value"])
@pytest.mark.parametrize("family", FAMILIES)
def test_edges_into_a_node(family, part, detach):
    model_context, context_of = context(family), autoencoders(family, D.MLP_POST_ACT, bias=2.0)  # 7 is active
    autoencoder = context_of.get_autoencoder(LAYER)
    found, gradients = gradients_of_loss(family)

    def attribution(pass_):
        if part == "neuron":
            act = Place.MLP_POST_ACT, LAYER
            return (pass_[act] * gradients[act])[FROM, NEURON]
        if part == "latent":
            latent_gradient = gradients[Place.MLP_POST_ACT, LAYER] @ autoencoder.decoder_weight
            return (latents_of(autoencoder, pass_, LAYER) * latent_gradient)[FROM, LATENT]
        if part == "value":
            prob = found[Place.ATTN_QK_PROBS, LAYER][FROM, TO, HEAD]
            value = pass_[Place.ATTN_VALUE, LAYER][TO, HEAD]
            return prob * value @ gradients[Place.ATTN_WEIGHTED_SUM_OF_VALUES, LAYER][FROM, HEAD]
        act = Place.ATTN_QK_PROBS, LAYER
        return (pass_[act] * gradients[act])[FROM, TO, HEAD]

    residual = reads_from(family, LAYER, is_mlp=part in ("neuron", "latent"))
    function = as_function_of_residual(
        family, residual, [scale_of(part, LAYER)] if detach else [], detach_other_inputs(part, LAYER), attribution
    )
    resid = found[residual].clone().requires_grad_()
    (expected,) = torch.autograd.grad(function(resid), resid)
    assert expected.abs().max() > 1e-9
    store = derived(
        family,
        [
            D.GRAD_OF_SINGLE_SUBNODE_ATTRIBUTION,
            D.ATTN_OUT_EDGE_ATTRIBUTION,
            D.MLP_OUT_EDGE_ATTRIBUTION,
            D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION,
            D.TOKEN_OUT_EDGE_ATTRIBUTION,
        ],
        autoencoder_context=context_of,
        node_index_for_attribution=downstream_node(part),
        detach_layer_norm_scale_for_attribution=detach,
    )
    close(store.activations(D.GRAD_OF_SINGLE_SUBNODE_ATTRIBUTION)[LAYER], expected)
    close(
        store.activations(D.TOKEN_OUT_EDGE_ATTRIBUTION)[None],
        (found[Place.RESID_POST_EMBEDDING, None] * expected).sum(-1, keepdim=True),
    )
    is_mlp = part in ("neuron", "latent")
    for layer in range(3):
        output = model_context.get_weight(WeightLocationType.ATTN_TO_RESIDUAL, layer)
        heads = torch.einsum(
            "fth,thc,hcd,fd->fth",
            found[Place.ATTN_QK_PROBS, layer],
            found[Place.ATTN_VALUE, layer],
            output,
            expected,
        )
        heads_are_upstream = layer < LAYER or (is_mlp and family != "gpt_neox")
        close(store.activations(D.ATTN_OUT_EDGE_ATTRIBUTION)[layer], heads * heads_are_upstream)
        rows = model_context.get_weight(WeightLocationType.MLP_TO_RESIDUAL, layer)
        among_neurons = expected @ rows.T * (layer < LAYER)
        close(store.activations(D.MLP_OUT_EDGE_ATTRIBUTION)[layer], found[Place.MLP_POST_ACT, layer] * among_neurons)
        other = context_of.get_autoencoder(layer)
        close(
            store.activations(D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION)[layer],
            latents_of(other, found, layer) * (among_neurons @ other.decoder_weight),
        )


UPSTREAM = {
    "neuron": NodeIndex(NodeType.MLP_NEURON, 0, (3, NEURON)),
    "head": NodeIndex(NodeType.ATTENTION_HEAD, 0, (3, 1, HEAD)),
    "latent": NodeIndex(NodeType.AUTOENCODER_LATENT, 0, (3, LATENT)),
}
IN_EDGES = {
    "query": (D.ATTN_QUERY_IN_EDGE_ATTRIBUTION, D.ATTN_QUERY_IN_EDGE_ACTIVATION),
    "key": (D.ATTN_KEY_IN_EDGE_ATTRIBUTION, D.ATTN_KEY_IN_EDGE_ACTIVATION),
    "value": (D.ATTN_VALUE_IN_EDGE_ATTRIBUTION, None),
    "neuron": (D.MLP_IN_EDGE_ATTRIBUTION, D.MLP_IN_EDGE_ACTIVATION),
    "latent": (D.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION, D.ONLINE_AUTOENCODER_IN_EDGE_ACTIVATION),
}


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("family", FAMILIES)
def test_edges_out_of_a_node(family, upstream, detach):
    model_context, context_of = context(family), autoencoders(family, D.MLP_POST_ACT, bias=2.0)  # 7 is active
    found, gradients = gradients_of_loss(family)
    node = UPSTREAM[upstream]
    rows = model_context.get_weight(WeightLocationType.MLP_TO_RESIDUAL, 0)
    if upstream == "neuron":
        vector = found[Place.MLP_POST_ACT, 0][3, NEURON] * rows[NEURON]
    elif upstream == "latent":
        autoencoder = context_of.get_autoencoder(0)
        latent = latents_of(autoencoder, found, 0)[3, LATENT]
        vector = latent * autoencoder.decoder_weight[:, LATENT] @ rows
    else:
        output = model_context.get_weight(WeightLocationType.ATTN_TO_RESIDUAL, 0)
        vector = found[Place.ATTN_QK_PROBS, 0][3, 1, HEAD] * found[Place.ATTN_VALUE, 0][1, HEAD] @ output[HEAD]
    write = torch.zeros(len(PROMPT), 32, dtype=torch.float64)
    write[3] = vector
    dsts = [dst for pair in IN_EDGES.values() for dst in pair if dst is not None]
    store = derived(
        family,
        [D.SINGLE_NODE_WRITE, D.SINGLE_NODE_WRITE_TO_FINAL_RESIDUAL_GRAD, *dsts],
        autoencoder_context=context_of,
        node_index_for_attribution=node,
        detach_layer_norm_scale_for_attribution=detach,
    )
    close(store.activations(D.SINGLE_NODE_WRITE)[0], write)
    g = gradients[Place.RESID_POST_MLP, 2]
    close(store.activations(D.SINGLE_NODE_WRITE_TO_FINAL_RESIDUAL_GRAD)[0], (write * g).sum(-1, keepdim=True))
    for layer in range(3):
        for part, (attribution, activation) in IN_EDGES.items():
            is_mlp = part in ("neuron", "latent")
            autoencoder = context_of.get_autoencoder(layer)
            act_place = Place.MLP_POST_ACT if is_mlp else OF_ATTENTION[part]

            def act(pass_, part=part, layer=layer, autoencoder=autoencoder, act_place=act_place):
                if part == "latent":
                    return latents_of(autoencoder, pass_, layer)
                return pass_[Place.ATTN_VALUE if part == "value" else act_place, layer]

            residual = reads_from(family, layer, is_mlp=is_mlp)
            is_downstream = layer > 0 or (upstream == "head" and is_mlp and family != "gpt_neox")

            def along_write(hold, part=part, layer=layer, residual=residual, act=act):
                scales = [scale_of(part, layer)] if hold else []
                edit = detach_other_inputs(part, layer)
                function = as_function_of_residual(family, residual, scales, edit, act)
                return torch.autograd.functional.jvp(function, found[residual], write)[1]

            if activation is not None:
                close(store.activations(activation)[layer], along_write(True) * is_downstream)
            tangent = along_write(detach)
            act_gradient = gradients[act_place, layer]
            if part == "value":
                probs = found[Place.ATTN_QK_PROBS, layer]
                expected = torch.einsum("fth,thc,fhc->fth", probs, tangent, act_gradient)
            else:
                expected = tangent * (act_gradient @ autoencoder.decoder_weight if part == "latent" else act_gradient)
            close(store.activations(attribution)[layer], expected * is_downstream)


@pytest.mark.parametrize("dst", [D.RESID_DELTA_ATTN, D.RESID_DELTA_MLP, D.RESID_POST_ATTN])
def test_edges_of_latents_of_other_places(dst):
    """From either end the same, for autoencoders whose latents see several tokens or no component."""
    up = NodeIndex(NodeType.AUTOENCODER_LATENT, 0, (2, 4))
    down = NodeIndex(NodeType.AUTOENCODER_LATENT, 2, (5, 7))
    options = {"autoencoder_context": autoencoders("gpt2", dst)}
    incoming = derived("gpt2", D.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION, node_index_for_attribution=up, **options)
    if dst is D.RESID_DELTA_ATTN:
        latents = incoming.activations(D.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION)[2]
        assert latents[5].abs().max() > 0  # attention carries what token 2 wrote to later tokens
        assert (latents[:2] == 0).all()
    outgoing = derived("gpt2", D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION, node_index_for_attribution=down, **options)
    close(
        incoming.activations(D.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION)[2][5, 7],
        outgoing.activations(D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION)[0][2, 4],
    )


def test_edges_end_where_a_trace_starts():
    """With a trace instead of a loss, what is not upstream of it has no gradient and so no attribution."""
    from neuron_explainer.activations.derived_scalars.indexing import PreOrPostAct, TraceConfig

    trace = TraceConfig(NodeIndex(NodeType.MLP_NEURON, 1, (4, 6)), PreOrPostAct.POST)
    node = NodeIndex(NodeType.MLP_NEURON, 0, (4, 3))
    dsts = [D.MLP_IN_EDGE_ATTRIBUTION, D.ATTN_VALUE_IN_EDGE_ATTRIBUTION, D.MLP_IN_EDGE_ACTIVATION]
    store = derived("gpt2", dsts, loss=None, trace_config=trace, node_index_for_attribution=node)
    assert (store.activations(D.MLP_IN_EDGE_ATTRIBUTION)[1] == 0).all()
    assert store.activations(D.ATTN_VALUE_IN_EDGE_ATTRIBUTION)[1].abs().max() > 0
    assert (store.activations(D.ATTN_VALUE_IN_EDGE_ATTRIBUTION)[2] == 0).all()
    assert store.activations(D.MLP_IN_EDGE_ACTIVATION)[2].abs().max() > 0
