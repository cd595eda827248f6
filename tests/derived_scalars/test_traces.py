"""Backward passes that start at an activation: against plain autograd on a forward pass written out apart."""

import pytest
import torch

from helpers.derived_scalars import N_LAYERS, PROMPT, autoencoders, close, context, derived, logit_difference
from helpers.functional_forward import D_HEAD, FAMILIES, N_HEADS, Key, forward, reads_from
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.indexing import (
    AttentionTraceType,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place
from neuron_explainer.vocabulary.weights import WeightLocationType

PRE, POST = PreOrPostAct.PRE, PreOrPostAct.POST
LAYER = 2
RAW = [D.RESID_POST_EMBEDDING, D.MLP_POST_ACT, D.ATTN_QK_PROBS, D.RESID_POST_MLP, D.RESID_POST_ATTN, D.ATTN_VALUE]


def expected_gradients(family, scalar_of, residual, *, detached_scales=(), cut=None):
    """Gradients of a scalar at the places of RAW, nothing flowing back but through the residual stream at `residual`.

    `scalar_of` is given the activations and `cut` may detach some on their way.
    """
    leaves = {}

    def keep(place, layer, tensor):
        if not tensor.requires_grad:
            tensor = tensor.requires_grad_()
        leaves[place, layer] = tensor
        return tensor

    forward(family, PROMPT, edit=keep)
    stream = leaves[residual]

    def replace(place, layer, tensor):
        if (place, layer) == residual:
            return branch
        return tensor if cut is None else cut(place, layer, tensor)

    branch = stream.detach().requires_grad_()
    scalar = scalar_of(forward(family, PROMPT, edit=replace, detached_scales=detached_scales))
    (g,) = torch.autograd.grad(scalar, branch)
    keys = [
        (dst.to_activation_location_type(), None if dst.has_no_layers else layer) for dst in RAW for layer in range(3)
    ]
    keys = list(dict.fromkeys(keys))
    gradients = torch.autograd.grad(stream, [leaves[key] for key in keys], g, allow_unused=True)
    return scalar.item(), g, dict(zip(keys, gradients, strict=True))


def check(store, scalar, gradients):
    close(store.traced_activation, scalar)
    for dst in RAW:
        for layer, actual in store.activations(dst, PassType.BACKWARD).items():
            expected = gradients[dst.to_activation_location_type(), layer]
            close(actual, torch.zeros_like(actual) if expected is None else expected)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("act", [PRE, POST])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_neuron(family, act, detach):
    trace = TraceConfig(NodeIndex(NodeType.MLP_NEURON, LAYER, (4, 6)), act, detach)
    place = Place.MLP_PRE_ACT if act is PRE else Place.MLP_POST_ACT
    scalar, _, gradients = expected_gradients(
        family,
        lambda found: found[place, LAYER][4, 6],
        reads_from(family, LAYER, is_mlp=True),
        detached_scales=[(Place.MLP_INPUT_LAYER_NORM_SCALE, LAYER)] if detach else (),
    )
    check(derived(family, RAW, loss=None, trace_config=trace, derive_gradients=True), scalar, gradients)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("act", [PRE, POST])
@pytest.mark.parametrize("kind", [AttentionTraceType.Q, AttentionTraceType.K, AttentionTraceType.QK])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_s_attention(family, kind, act, detach):
    trace = TraceConfig(NodeIndex(NodeType.ATTENTION_HEAD, LAYER, (4, 1, 2)), act, detach, kind)
    place = Place.ATTN_QK_LOGITS if act is PRE else Place.ATTN_QK_PROBS
    detached = {"Q": Place.ATTN_KEY, "K": Place.ATTN_QUERY}.get(kind.value)
    scalar, _, gradients = expected_gradients(
        family,
        lambda found: found[place, LAYER][4, 1, 2],
        reads_from(family, LAYER, is_mlp=False),
        detached_scales=[(Place.ATTN_INPUT_LAYER_NORM_SCALE, LAYER)] if detach else (),
        cut=lambda at, layer, tensor: tensor.detach() if (at, layer) == (detached, LAYER) else tensor,
    )
    check(derived(family, RAW, loss=None, trace_config=trace, derive_gradients=True), scalar, gradients)


@pytest.mark.parametrize("with_downstream", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_s_value_is_projected_on_what_lies_downstream(family, with_downstream):
    downstream = TraceConfig(NodeIndex(NodeType.MLP_NEURON, LAYER, (5, 6)), PRE) if with_downstream else None
    trace = TraceConfig(NodeIndex(NodeType.ATTENTION_HEAD, 1, (5, 1, 2)), POST, True, AttentionTraceType.V, downstream)
    if with_downstream:
        _, g, _ = expected_gradients(
            family, lambda found: found[Place.MLP_PRE_ACT, LAYER][5, 6], reads_from(family, LAYER, is_mlp=True)
        )
    else:
        _, g, _ = expected_gradients(
            family,
            lambda found: logit_difference(found[Place.LOGITS, None]),
            (Place.RESID_POST_MLP, N_LAYERS - 1),
            detached_scales=[(Place.RESID_FINAL_LAYER_NORM_SCALE, None)],
        )
    output = context(family).get_weight(WeightLocationType.ATTN_TO_RESIDUAL, 1)
    assert output.shape == (N_HEADS, D_HEAD, 32)
    cut = {Place.ATTN_QUERY, Place.ATTN_KEY}
    scalar, _, gradients = expected_gradients(
        family,
        lambda found: found[Place.ATTN_QK_PROBS, 1][5, 1, 2] * found[Place.ATTN_VALUE, 1][1, 2] @ output[2] @ g[5],
        reads_from(family, 1, is_mlp=False),
        detached_scales=[(Place.ATTN_INPUT_LAYER_NORM_SCALE, 1)],
        cut=lambda at, layer, tensor: tensor.detach() if at in cut and layer == 1 else tensor,
    )
    assert abs(scalar) > 1e-6
    store = derived(family, RAW, trace_config=trace, derive_gradients=True)
    check(store, scalar, gradients)


@pytest.mark.parametrize(
    "dst", [D.MLP_POST_ACT, D.RESID_DELTA_MLP, D.RESID_DELTA_ATTN, D.RESID_POST_ATTN, D.RESID_POST_MLP, D.MLP_PRE_ACT]
)
@pytest.mark.parametrize("act", [PRE, POST])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_latent(family, act, dst):
    context_of = autoencoders(family, dst)
    autoencoder = context_of.get_autoencoder(1)
    trace = TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, 1, (4, 6)), act)
    place = dst.to_activation_location_type()

    def latent(found):
        inputs = found[place, 1][4].flatten()
        value = autoencoder.encoder_weight[6] @ (inputs - autoencoder.pre_bias) + autoencoder.latent_bias[6]
        return value.relu() if act is POST else value

    if dst in (D.RESID_POST_ATTN, D.RESID_POST_MLP):
        residual: Key = place, 1
    else:
        residual = reads_from(family, 1, is_mlp=dst is not D.RESID_DELTA_ATTN)
    scalar, _, gradients = expected_gradients(family, latent, residual)
    options = {"trace_config": trace, "derive_gradients": True, "autoencoder_context": context_of}
    check(derived(family, RAW, loss=None, **options), scalar, gradients)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_entry_of_the_logits(family):
    trace = TraceConfig(NodeIndex(NodeType.VOCAB_TOKEN, None, (3, 9)), POST)
    scalar, _, gradients = expected_gradients(
        family, lambda found: found[Place.LOGITS, None][3, 9], (Place.RESID_POST_MLP, N_LAYERS - 1)
    )
    check(derived(family, RAW, loss=None, trace_config=trace, derive_gradients=True), scalar, gradients)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_axis_of_tokens_is_their_sum(family):
    def by_token(token):
        trace = TraceConfig(NodeIndex(NodeType.MLP_NEURON, LAYER, (token, 6)), POST)
        return derived(family, D.TOKEN_ATTRIBUTION, loss=None, trace_config=trace)

    whole = by_token("All")
    single = [by_token(token) for token in range(len(PROMPT))]
    close(whole.traced_activation, sum(store.traced_activation for store in single))
    close(
        whole.activations(D.TOKEN_ATTRIBUTION)[None],
        sum(store.activations(D.TOKEN_ATTRIBUTION)[None] for store in single),
    )


LOCAL_AND_GLOBAL = {
    D.MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD: D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    D.UNFLATTENED_ATTN_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD: D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
    D.RESID_POST_EMBEDDING_PROJ_TO_FINAL_ACTIVATION_RESIDUAL_GRAD: D.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
    D.ONLINE_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD: D.ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "trace",
    [
        TraceConfig(NodeIndex(NodeType.MLP_NEURON, LAYER, (4, 6)), POST),
        TraceConfig(NodeIndex(NodeType.ATTENTION_HEAD, LAYER, (4, 1, 2)), PRE, True, AttentionTraceType.QK),
        TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, LAYER, (4, 1)), PRE),
    ],
    ids=["neuron", "head", "latent"],
)
def test_the_gradient_found_locally_is_the_one_found_by_the_backward_pass(family, trace):
    options = {"trace_config": trace, "autoencoder_context": autoencoders(family, D.MLP_POST_ACT)}
    local = derived(family, list(LOCAL_AND_GLOBAL), loss=None, **options)
    by_backward_pass = derived(family, list(LOCAL_AND_GLOBAL.values()), loss=None, **options)
    for one, other in LOCAL_AND_GLOBAL.items():
        for layer, tensor in local.activations(one).items():
            close(tensor, by_backward_pass.activations(other)[layer])
    assert local.activations(D.MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD)[0].abs().max() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_beside_or_after_the_traced_component_has_an_effect(family):
    trace = TraceConfig(NodeIndex(NodeType.MLP_NEURON, 1, (4, 6)), POST)
    dsts = [
        D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.MLP_ACT_TIMES_GRAD,
        D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.UNFLATTENED_ATTN_ACT_TIMES_GRAD,
    ]
    store = derived(family, dsts, loss=None, trace_config=trace)
    for dst in dsts:
        by_layer = store.activations(dst)
        assert by_layer[0].abs().max() > 0
        assert (by_layer[2] == 0).all()
        is_beside = "MLP" in dst.name or family == "gpt_neox"  # whose MLP reads beside its layer's attention
        assert (by_layer[1] == 0).all() == is_beside


def test_only_the_layers_below_the_trace_are_run():
    """The trace is in layer 1: recording what lies before it runs no layer after it, and no unembedding."""
    model = context("gpt2").get_or_create_model()
    run = []
    handles = [
        block.register_forward_hook(lambda *_, number=n: run.append(number)) for n, block in enumerate(model.blocks)
    ]
    trace = TraceConfig(NodeIndex(NodeType.MLP_NEURON, 1, (4, 6)), POST)
    derived("gpt2", [D.TOKEN_ATTRIBUTION, D.MLP_ACT_TIMES_GRAD], loss=None, trace_config=trace)
    derived("gpt2", D.MLP_POST_ACT, loss=None, layer_indices=[0])
    for handle in handles:
        handle.remove()
    assert run == [0, 1, 0]
