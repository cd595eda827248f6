"""Latents, in every family: online as offline, their writes and gradients, what they leave, and what they change."""

import pytest
import torch

from helpers.derived_scalars import (
    EACH_STRUCTURE,
    FAMILIES,
    N_LAYERS,
    PROMPT,
    autoencoders,
    close,
    context,
    derived,
    output_biases,
)
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import LatentActivation, ReLU, TopK
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

LATENT_PLACES = [
    D.MLP_POST_ACT,
    D.RESID_DELTA_MLP,
    D.ATTN_WEIGHTED_SUM_OF_VALUES,
    D.RESID_DELTA_ATTN,
    D.RESID_POST_ATTN,
    D.RESID_POST_MLP,
    D.PREVIOUS_LAYER_RESID_POST_MLP,
]
# Every family with one input scaling, and every scaling in a family with post-norms and in one without.
FAMILIES_AND_SCALINGS = [
    (family, scaling)
    for family in FAMILIES
    for scaling in InputScaling
    if scaling is InputScaling.LAYER_NORM or family in ("gpt2", "gemma2")
]


@pytest.mark.parametrize("family", EACH_STRUCTURE)
@pytest.mark.parametrize("activation", [ReLU(), TopK(5)], ids=["relu", "topk"])
@pytest.mark.parametrize(
    ("dst", "offline", "online"),
    [
        (D.MLP_POST_ACT, D.MLP_AUTOENCODER_LATENT, D.ONLINE_MLP_AUTOENCODER_LATENT),
        (D.RESID_DELTA_ATTN, D.ATTENTION_AUTOENCODER_LATENT, D.ONLINE_ATTENTION_AUTOENCODER_LATENT),
        (D.MLP_POST_ACT, D.AUTOENCODER_LATENT, D.ONLINE_AUTOENCODER_LATENT),
    ],
)
def test_online_latents_are_the_offline_ones_and_leave_the_logits_alone(
    family: str, dst: D, offline: D, online: D, activation: LatentActivation
) -> None:
    autoencoder_context = autoencoders(family, dst, activation=activation)
    store = derived(family, [D.LOGITS, offline, online], autoencoder_context=autoencoder_context)
    close(store.activations(D.LOGITS)[None], derived(family, D.LOGITS).activations(D.LOGITS)[None])
    raw = derived(family, dst).activations(dst)
    for layer in range(N_LAYERS):
        close(store.activations(online)[layer], store.activations(offline)[layer])
        close(store.activations(offline)[layer], autoencoder_context.get_autoencoder(layer).encode(raw[layer]))


@pytest.mark.parametrize("family", EACH_STRUCTURE)
@pytest.mark.parametrize("dst", [*LATENT_PLACES, D.MLP_PRE_ACT])
def test_autoencoders_of_every_place_run_online(family: str, dst: D) -> None:
    """Offline, an autoencoder of the MLP's write reads it without the bias; everywhere else both read the same."""
    autoencoder_context = autoencoders(family, dst, input_scaling=InputScaling.LAYER_NORM)
    read_offline = D.RESID_DELTA_MLP_FROM_MLP_POST_ACT if dst is D.RESID_DELTA_MLP else dst
    dsts = [D.LOGITS, D.AUTOENCODER_LATENT, D.ONLINE_AUTOENCODER_LATENT, dst, read_offline]
    store = derived(family, dsts, autoencoder_context=autoencoder_context, layer_indices=[1])
    close(store.activations(D.LOGITS)[None], derived(family, D.LOGITS).activations(D.LOGITS)[None])
    encode = autoencoder_context.get_autoencoder(1).encode
    online = encode(store.activations(dst)[1].flatten(1))
    close(store.activations(D.ONLINE_AUTOENCODER_LATENT)[1], online)
    close(store.activations(D.AUTOENCODER_LATENT)[1], encode(store.activations(read_offline)[1].flatten(1)))
    assert (online > 0).any()


@pytest.mark.parametrize("family", EACH_STRUCTURE)
@pytest.mark.parametrize("input_scaling", [InputScaling.NONE, InputScaling.LAYER_NORM])
@pytest.mark.parametrize(
    ("dst", "error_type", "whole"),
    [
        (D.MLP_POST_ACT, D.ONLINE_MLP_AUTOENCODER_ERROR, D.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD),
        (D.RESID_DELTA_MLP, D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR, D.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD),
        (D.RESID_DELTA_ATTN, D.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR, D.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD),
    ],
)
def test_the_direct_effects_of_latents_error_and_biases_are_the_place_s_own(
    family: str, dst: D, error_type: D, whole: D, input_scaling: InputScaling
) -> None:
    """recon + error = x, so the writes of the latents, of the error and of the pre_bias to g are those of x."""
    autoencoder_context = autoencoders(family, dst, input_scaling=input_scaling)
    writes = D.ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD
    dsts = [writes, whole, error_type, dst, D.RESID_POST_MLP]
    store = derived(family, dsts, autoencoder_context=autoencoder_context, derive_gradients=True)
    g = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[N_LAYERS - 1]
    for layer in range(N_LAYERS):
        scaling = input_scaling.of(store.activations(dst)[layer])
        rest = store.activations(error_type)[layer]
        rest = rest + autoencoder_context.get_autoencoder(layer).pre_bias * scaling.multiplier + scaling.shift
        bias = torch.zeros(context(family).config.d_model, dtype=torch.float64)
        if dst is D.MLP_POST_ACT:
            block = context(family).get_or_create_model().blocks[layer]
            post_norm = block.mlp_post_norm_at(store.activations(dst)[layer][None])
            rest = rest @ block.mlp.output_weight.T
            rest = rest if post_norm is None else rest * post_norm.factor[0]
            _, bias = output_biases(family, layer)
        total = store.activations(writes)[layer].sum(-1) + ((rest + bias) * g).sum(-1)
        close(total, store.activations(whole)[layer].squeeze(-1))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_autoencoder_changes_no_gradient_but_its_own(family: str) -> None:
    alone = derived(family, D.RESID_POST_MLP, derive_gradients=True)
    context_of = autoencoders(family, D.MLP_POST_ACT)
    beside = derived(family, D.RESID_POST_MLP, derive_gradients=True, autoencoder_context=context_of)
    for layer in range(N_LAYERS):
        close(
            beside.activations(D.RESID_POST_MLP, PassType.BACKWARD)[layer],
            alone.activations(D.RESID_POST_MLP, PassType.BACKWARD)[layer],
        )


@pytest.mark.parametrize("place", LATENT_PLACES)
@pytest.mark.parametrize(("family", "scaling"), FAMILIES_AND_SCALINGS)
def test_norms_direct_effects_and_gradients_are_those_of_the_latents_writes(
    family: str, place: D, scaling: InputScaling
) -> None:
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
    token, latent = (store.activations(dsts[0])[1] > 0.5).nonzero()[0].tolist()
    value = float(store.activations(dsts[0])[1][token, latent])
    losses = []
    for step in (1e-5, -1e-5):
        ablation = AblationSpec(
            ActivationIndex(Place.ONLINE_AUTOENCODER_LATENT, 1, (token, latent)), value * (1 + step)
        )
        outcome = derived(family, dsts[0], autoencoder_context=context_of, ablations=[ablation])
        assert outcome.loss is not None
        losses.append(outcome.loss)
    measured = (losses[0] - losses[1]) / 2e-5
    close(store.activations(D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD)[1][token, latent], measured, 1e-6)


@pytest.mark.parametrize(("family", "scaling"), FAMILIES_AND_SCALINGS)
def test_attention_s_writes_to_latents_one_by_one_and_all_at_once(family: str, scaling: InputScaling) -> None:
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


@pytest.mark.parametrize("place", [*LATENT_PLACES, D.MLP_PRE_ACT])
@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_a_traced_latent_has_the_value_that_was_encoded(family: str, place: D) -> None:
    context_of = autoencoders(family, place, bias=1.0)
    trace = TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, 1, (4, 3)), PreOrPostAct.POST)
    options = {"trace_config": trace, "autoencoder_context": context_of, "loss": None}
    store = derived(family, [D.ONLINE_AUTOENCODER_LATENT, D.TOKEN_ATTRIBUTION], **options)
    close(store.traced_activation, store.activations(D.ONLINE_AUTOENCODER_LATENT)[1][4, 3])


def test_an_autoencoder_of_a_scaled_input_needs_no_second_pass() -> None:
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
