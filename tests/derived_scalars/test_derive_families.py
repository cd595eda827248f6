"""Every derived scalar in the families that do something of their own: post-norms, soft caps, windows, query/key norms.

What is written is taken after a norm that follows, with its scale held constant, so the identities hold exactly.
"""

import pytest
import torch

from helpers.derived_scalars import N_LAYERS, PROMPT, autoencoders, close, context, derived
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars import DstConfig, derive
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    AttnSubNodeIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import TopK
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.nodes import AttnSubNode, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

FAMILIES = ["gemma2", "mistral", "qwen2", "qwen3", "gpt_neox_sequential", "llama_3", "gpt2_scaled_by_layer"]
WITHOUT_OUTPUT_BIAS = [
    family for family in FAMILIES if family not in ("gpt2_scaled_by_layer", "gpt_neox_sequential", "llama_3")
]


@pytest.mark.parametrize("family", WITHOUT_OUTPUT_BIAS)
def test_writes_add_up_to_what_is_added(family):
    store = derived(
        family,
        [
            D.ATTN_WRITE,
            D.ATTN_WRITE_SUM_HEADS,
            D.RESID_DELTA_ATTN,
            D.MLP_WRITE,
            D.RESID_DELTA_MLP,
            D.RESID_DELTA_MLP_FROM_MLP_POST_ACT,
        ],
        loss=None,
    )
    for layer in range(N_LAYERS):
        of = {dst: store.activations(dst)[layer] for dst in store.dsts}
        close(of[D.ATTN_WRITE].sum(dim=(1, 2)), of[D.RESID_DELTA_ATTN])
        close(of[D.ATTN_WRITE].sum(dim=2), of[D.ATTN_WRITE_SUM_HEADS])
        close(of[D.MLP_WRITE].sum(dim=1), of[D.RESID_DELTA_MLP])
        close(of[D.RESID_DELTA_MLP_FROM_MLP_POST_ACT], of[D.RESID_DELTA_MLP])


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_and_direct_effects_are_those_of_the_writes(family):
    store = derived(
        family,
        [
            D.ATTN_WRITE,
            D.UNFLATTENED_ATTN_WRITE_NORM,
            D.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN,
            D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
            D.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN,
            D.MLP_WRITE,
            D.MLP_WRITE_NORM,
            D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
            D.RESID_POST_MLP,
            D.ATTN_QK_PROBS,
        ],
        derive_gradients=True,
    )
    g = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[N_LAYERS - 1]
    for layer in range(N_LAYERS):
        of = {dst: store.activations(dst)[layer] for dst in store.dsts}
        heads, neurons = of[D.ATTN_WRITE], of[D.MLP_WRITE]
        close(heads.norm(dim=-1), of[D.UNFLATTENED_ATTN_WRITE_NORM])
        close(heads.sum(dim=1).norm(dim=-1), of[D.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN])
        close(torch.einsum("fthd,fd->fth", heads, g), of[D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD])
        by_token = torch.einsum("fthd,fd->fh", heads, g)
        close(by_token, of[D.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN])
        close(neurons.norm(dim=-1), of[D.MLP_WRITE_NORM].abs())
        close(torch.einsum("tnd,td->tn", neurons, g), of[D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD])
        gradient = store.activations(D.ATTN_QK_PROBS, PassType.BACKWARD)[layer]
        per_length = store.activations(D.UNFLATTENED_ATTN_WRITE_NORM, PassType.BACKWARD)[layer]
        attended = of[D.ATTN_QK_PROBS] > 0
        close((per_length * of[D.UNFLATTENED_ATTN_WRITE_NORM] / of[D.ATTN_QK_PROBS])[attended], gradient[attended])


LATENT_PLACES = [
    D.MLP_POST_ACT,
    D.RESID_DELTA_MLP,
    D.ATTN_WEIGHTED_SUM_OF_VALUES,
    D.RESID_DELTA_ATTN,
    D.RESID_POST_ATTN,
    D.RESID_POST_MLP,
    D.PREVIOUS_LAYER_RESID_POST_MLP,
]


@pytest.mark.parametrize("scaling", list(InputScaling))
@pytest.mark.parametrize("place", LATENT_PLACES)
@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_latents_of_every_place_write_what_they_are_said_to(family, place, scaling):
    """Norms and direct effects are the writes' own, and the gradient is how the loss moves when a latent alone does."""
    context_of = autoencoders(family, place, input_scaling=scaling, bias=1.0)
    dsts = [
        D.ONLINE_AUTOENCODER_LATENT,
        D.ONLINE_AUTOENCODER_WRITE,
        D.ONLINE_AUTOENCODER_WRITE_NORM,
        D.ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD,
        D.RESID_POST_MLP,
    ]
    store = derived(family, dsts, autoencoder_context=context_of, derive_gradients=True)
    g = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[N_LAYERS - 1]
    for layer in range(N_LAYERS):
        of = {dst: store.activations(dst)[layer] for dst in store.dsts}
        write = of[D.ONLINE_AUTOENCODER_WRITE]
        close(write.norm(dim=-1), of[D.ONLINE_AUTOENCODER_WRITE_NORM].abs())
        close(torch.einsum("tld,td->tl", write, g), of[D.ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD])
    token, latent = (entry[0].item() for entry in (store.activations(dsts[0])[1][:, 2:] > 0.5).nonzero(as_tuple=True))
    latent += 2
    value = float(store.activations(dsts[0])[1][token, latent])
    losses = []
    for step in (1e-5, -1e-5):
        ablation = AblationSpec(
            ActivationIndex(Place.ONLINE_AUTOENCODER_LATENT, 1, (token, latent)), value * (1 + step)
        )
        losses.append(derived(family, dsts[0], autoencoder_context=context_of, ablations=[ablation]).loss)
    measured = (losses[0] - losses[1]) / 2e-5
    close(store.activations(D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD)[1][token, latent], measured, 1e-6)


@pytest.mark.parametrize("scaling", list(InputScaling))
@pytest.mark.parametrize("family", ["gpt2", "gemma2", "llama_3"])
def test_attention_s_writes_to_latents_one_by_one_and_all_at_once(family, scaling):
    context_of = autoencoders(family, D.RESID_DELTA_ATTN, activation=TopK(9), input_scaling=scaling)
    options = {"loss": None, "layer_indices": [1], "autoencoder_context": context_of}
    batched = [
        D.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN_BATCHED,
        D.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS_BATCHED,
        D.ATTN_WRITE,
    ]
    together = derived(family, batched, **options)
    singles = [
        D.ATTN_WRITE_TO_LATENT,
        D.ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
        D.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
        D.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN,
        D.AUTOENCODER_LATENT_GRAD_WRT_RESIDUAL_INPUT,
    ]
    for latent in (0, 7, 23):
        trace = TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, 1, (None, latent)), PreOrPostAct.POST)
        store = derived(family, singles, trace_config=trace, **options)
        of = {dst: store.activations(dst)[1] for dst in singles}
        direction = of[D.AUTOENCODER_LATENT_GRAD_WRT_RESIDUAL_INPUT]
        by_pair = torch.einsum("fthd,fd->fth", together.activations(D.ATTN_WRITE)[1], direction)
        close(of[D.ATTN_WRITE_TO_LATENT], by_pair)
        close(of[D.ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS], by_pair.sum(-1, keepdim=True))
        close(of[D.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN], by_pair.sum(1))
        rows, columns = torch.tril_indices(len(PROMPT), len(PROMPT))
        close(of[D.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS][:, 0], by_pair.sum(-1)[rows, columns])
        close(together.activations(batched[0])[1][..., latent], by_pair.sum(1))
        close(together.activations(batched[1])[1][:, latent], by_pair.sum(-1)[rows, columns])


NODES = {
    "neuron": NodeIndex(NodeType.MLP_NEURON, 2, (4, 5)),
    "query": AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 2, (4, 3, 1), q_k_or_v=AttnSubNode.Q),
    "key": AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 2, (5, 4, 1), q_k_or_v=AttnSubNode.K),
    "value": AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 2, (5, 4, 1), q_k_or_v=AttnSubNode.V),
}
IN_EDGE = {
    "neuron": D.MLP_IN_EDGE_ATTRIBUTION,
    "query": D.ATTN_QUERY_IN_EDGE_ATTRIBUTION,
    "key": D.ATTN_KEY_IN_EDGE_ATTRIBUTION,
    "value": D.ATTN_VALUE_IN_EDGE_ATTRIBUTION,
}


@pytest.mark.parametrize("part", NODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_edges_are_the_same_from_either_end(family, part):
    """Soft caps, windows and query/key norms included: the one end is differentiated, the other written out."""
    down = NODES[part]
    for up, out_edge in (
        (NodeIndex(NodeType.MLP_NEURON, 0, (4, 7)), D.MLP_OUT_EDGE_ATTRIBUTION),
        (NodeIndex(NodeType.ATTENTION_HEAD, 1, (4, 2, 3)), D.ATTN_OUT_EDGE_ATTRIBUTION),
    ):
        incoming = derived(family, IN_EDGE[part], node_index_for_attribution=up)
        outgoing = derived(family, out_edge, node_index_for_attribution=down)
        from_above = incoming.activations(IN_EDGE[part])[2][down.slices]
        from_below = outgoing.activations(out_edge)[up.layer_index][up.slices]
        torch.testing.assert_close(from_above, from_below, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("kind", [AttentionTraceType.Q, AttentionTraceType.K, AttentionTraceType.QK])
@pytest.mark.parametrize("act", list(PreOrPostAct))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_traced_head_has_the_value_that_was_recorded(family, act, kind):
    node = NodeIndex(NodeType.ATTENTION_HEAD, 2, (5, 3, 1))
    dst = D.ATTN_QK_LOGITS if act is PreOrPostAct.PRE else D.ATTN_QK_PROBS
    trace = TraceConfig(node, act, attention_trace_type=kind)
    store = derived(family, [dst, D.TOKEN_ATTRIBUTION], loss=None, trace_config=trace)
    close(store.traced_activation, store.activations(dst)[2][node.slices])


@pytest.mark.parametrize("place", [*LATENT_PLACES, D.MLP_PRE_ACT])
@pytest.mark.parametrize("family", ["gemma2", "gpt_neox"])
def test_a_traced_latent_has_the_value_that_was_encoded(family, place):
    context_of = autoencoders(family, place, bias=1.0)
    trace = TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, 1, (4, 3)), PreOrPostAct.POST)
    options = {"trace_config": trace, "autoencoder_context": context_of, "loss": None}
    store = derived(family, [D.ONLINE_AUTOENCODER_LATENT, D.TOKEN_ATTRIBUTION], **options)
    close(store.traced_activation, store.activations(D.ONLINE_AUTOENCODER_LATENT)[1][4, 3])


def test_a_value_traced_through_a_post_norm_is_the_head_s_direct_effect():
    """What is traced is the same number as the head's write projected on the downstream gradient, found otherwise."""
    downstream = TraceConfig(NodeIndex(NodeType.MLP_NEURON, 2, (5, 6)), PreOrPostAct.PRE)
    node = NodeIndex(NodeType.ATTENTION_HEAD, 1, (5, 3, 2))
    trace = TraceConfig(node, PreOrPostAct.POST, True, AttentionTraceType.V, downstream)
    for family in ("gemma2", "gpt2", "gpt_neox"):
        traced = derived(family, D.TOKEN_ATTRIBUTION, loss=None, trace_config=trace)
        effects = D.UNFLATTENED_ATTN_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD
        direct = derived(family, effects, loss=None, trace_config=downstream).activations(effects)[1]
        close(traced.traced_activation, direct[node.slices])


def test_models_of_low_precision_give_results_of_low_precision():
    """A bfloat16 model gives bfloat16 results near those of float64."""
    exact = context("gemma2").get_or_create_model()
    rounded = Transformer(exact.config)
    rounded.load_state_dict(
        {name: weight.to(torch.bfloat16) for name, weight in exact.state_dict().items()}, assign=True
    )
    config = DstConfig(model_context=StandardModelContext("rounded", rounded))
    dsts = [D.MLP_WRITE_NORM, D.UNFLATTENED_ATTN_WRITE_NORM, D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD]
    store = derive(PROMPT, dsts, config, loss=lambda logits: logits[-1, 7] - logits[-1, 11])
    expected = derived("gemma2", dsts)
    for dst in dsts:
        actual = store.activations(dst)[0]
        assert actual.dtype == torch.bfloat16
        difference = (actual.double() - expected.activations(dst)[0]).norm()
        assert difference < 0.1 * expected.activations(dst)[0].norm()


def test_an_autoencoder_of_a_scaled_input_needs_no_second_pass():
    """Gradients of latents whose inputs are scaled come from the recorded gradient alone."""
    whole = autoencoders("gpt2", D.RESID_POST_MLP)
    scaled = AutoencoderContext.from_autoencoders(
        D.RESID_POST_MLP,
        {
            layer: Autoencoder(
                each.encoder_weight,
                each.decoder_weight,
                each.pre_bias,
                each.latent_bias,
                each.activation,
                input_scaling=InputScaling.LAYER_NORM,
            )
            for layer, each in ((layer, whole.get_autoencoder(layer)) for layer in range(N_LAYERS))
        },
    )
    store = derived(
        "gpt2",
        [D.RESID_POST_MLP, D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD],
        derive_gradients=True,
        autoencoder_context=scaled,
    )
    x = store.activations(D.RESID_POST_MLP)[1]
    multiplier = x.std(dim=-1, keepdim=True)
    gradient = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[1] * multiplier
    expected = scaled.get_autoencoder(1).encode(x) * (gradient @ scaled.get_autoencoder(1).decoder_weight)
    close(store.activations(D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD)[1], expected)
