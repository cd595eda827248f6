"""What heads, neurons and layers write adds up, whatever the weights, in every family: sums, norms, direct effects.

Small random models in float64, so that what should be 0 is below 1e-9. What is written through a norm (gemma2) is taken
with that norm's scale held constant, so that the identities hold exactly there too.
"""

import pytest
import torch

from helpers.derived_scalars import (
    DISTRACTOR,
    FAMILIES,
    N_LAYERS,
    PROMPT,
    TARGET,
    close,
    context,
    derived,
    output_biases,
)
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place
from neuron_explainer.vocabulary.weights import WeightLocationType

LAYERS = range(N_LAYERS)
LINEAR_READ_OUT = [family for family in FAMILIES if context(family).config.logits_softcap is None]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_writes_of_heads_and_the_bias_are_what_attention_adds(family: str) -> None:
    store = derived(family, [D.ATTN_WRITE, D.ATTN_WRITE_SUM_HEADS, D.RESID_DELTA_ATTN], loss=None)
    for layer, write in store.activations(D.ATTN_WRITE).items():
        bias, _ = output_biases(family, layer)
        close(write.sum(dim=(1, 2)) + bias, store.activations(D.RESID_DELTA_ATTN)[layer])
        close(write.sum(dim=2), store.activations(D.ATTN_WRITE_SUM_HEADS)[layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_writes_of_neurons_and_the_bias_are_what_the_mlp_adds(family: str) -> None:
    store = derived(family, [D.MLP_WRITE, D.RESID_DELTA_MLP, D.RESID_DELTA_MLP_FROM_MLP_POST_ACT], loss=None)
    for layer, write in store.activations(D.MLP_WRITE).items():
        _, bias = output_biases(family, layer)
        close(write.sum(dim=1) + bias, store.activations(D.RESID_DELTA_MLP)[layer])
        close(write.sum(dim=1), store.activations(D.RESID_DELTA_MLP_FROM_MLP_POST_ACT)[layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_embedding_and_everything_added_are_the_residual_stream(family: str) -> None:
    raw = [D.RESID_POST_EMBEDDING, D.RESID_DELTA_ATTN, D.RESID_DELTA_MLP, D.RESID_POST_MLP]
    store = derived(family, [*raw, D.PREVIOUS_LAYER_RESID_POST_MLP], loss=None)
    stream = store.activations(D.RESID_POST_EMBEDDING)[None]
    for layer in LAYERS:
        close(stream, store.activations(D.PREVIOUS_LAYER_RESID_POST_MLP)[layer])
        stream = stream + store.activations(D.RESID_DELTA_ATTN)[layer] + store.activations(D.RESID_DELTA_MLP)[layer]
        close(stream, store.activations(D.RESID_POST_MLP)[layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_all_direct_effects_and_the_biases_are_that_of_the_residual_stream(family: str) -> None:
    dsts = [
        D.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
        D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD,
        D.RESID_POST_MLP,
    ]
    store = derived(family, dsts, derive_gradients=True)
    g = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[N_LAYERS - 1]
    so_far = store.activations(D.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD)[None].squeeze(-1)
    for layer in LAYERS:
        attention_bias, mlp_bias = output_biases(family, layer)
        of = {dst: store.activations(dst)[layer] for dst in dsts[1:]}
        attention = of[D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD].sum(dim=(1, 2)) + g @ attention_bias
        mlp = of[D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD].sum(dim=1) + (g * mlp_bias).sum(-1)
        close(attention, of[D.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD].squeeze(-1))
        close(mlp, of[D.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD].squeeze(-1))
        so_far = so_far + attention + mlp
        if layer == N_LAYERS - 1:  # the last layer's residual stream is where g is taken, not before it
            close(so_far, (of[D.RESID_POST_MLP] * g).sum(-1))
        else:
            close(so_far, of[D.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD].squeeze(-1))


@pytest.mark.parametrize("family", LINEAR_READ_OUT)
def test_direct_effects_with_the_final_scale_held_make_the_logit_difference(family: str) -> None:
    """With the final norm's scale held, the loss is linear in the residual stream: rm·g and a constant are the loss."""
    frozen = AblationSpec(
        ActivationIndex(Place.RESID_FINAL_LAYER_NORM_SCALE, None, ("All", "All"), PassType.BACKWARD), 0
    )
    store = derived(family, D.RESID_POST_MLP, ablations=(frozen,), derive_gradients=True)
    rm = store.activations(D.RESID_POST_MLP)[N_LAYERS - 1]
    g = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[N_LAYERS - 1]
    constant = torch.zeros((), dtype=torch.float64)
    if context(family).config.norm_has_bias:  # unembedded
        unembedding = context(family).get_weight(WeightLocationType.UNEMBEDDING)
        bias = context(family).get_weight(WeightLocationType.FINAL_LAYER_NORM_BIAS)
        constant = bias @ (unembedding[:, TARGET] - unembedding[:, DISTRACTOR])
    if (of_tokens := context(family).get_or_create_model().unembedding_bias) is not None:
        constant = constant + of_tokens[TARGET] - of_tokens[DISTRACTOR]
    close((rm * g).sum() + constant, store.loss)


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_and_direct_effects_are_those_of_the_writes(family: str) -> None:
    dsts = [
        D.ATTN_WRITE,
        D.UNFLATTENED_ATTN_WRITE_NORM,
        D.ATTN_WRITE_NORM,
        D.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN,
        D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN,
        D.MLP_WRITE,
        D.MLP_WRITE_NORM,
        D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.RESID_POST_MLP,
    ]
    store = derived(family, dsts, derive_gradients=True)
    g = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[N_LAYERS - 1]
    lower = torch.ones(len(PROMPT), len(PROMPT), dtype=torch.bool).tril()
    for layer in LAYERS:
        of = {dst: store.activations(dst)[layer] for dst in dsts}
        heads, neurons = of[D.ATTN_WRITE], of[D.MLP_WRITE]
        close(heads.norm(dim=-1), of[D.UNFLATTENED_ATTN_WRITE_NORM])
        close(heads.norm(dim=-1)[lower], of[D.ATTN_WRITE_NORM])
        close(heads.sum(dim=1).norm(dim=-1), of[D.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN])
        by_pair = torch.einsum("fthd,fd->fth", heads, g)
        close(by_pair, of[D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD])
        close(by_pair[lower], of[D.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD])
        close(by_pair.sum(1), of[D.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN])
        close(neurons.norm(dim=-1), of[D.MLP_WRITE_NORM].abs())
        close(torch.einsum("tnd,td->tn", neurons, g), of[D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_write_norm_s_gradient_is_the_probability_s_own_per_unit_of_norm(family: str) -> None:
    store = derived(family, [D.ATTN_QK_PROBS, D.UNFLATTENED_ATTN_WRITE_NORM], derive_gradients=True)
    for layer in LAYERS:
        probs = store.activations(D.ATTN_QK_PROBS)[layer]
        norm = store.activations(D.UNFLATTENED_ATTN_WRITE_NORM)[layer]
        per_norm = store.activations(D.UNFLATTENED_ATTN_WRITE_NORM, PassType.BACKWARD)[layer]
        attended = probs > 0
        gradient = store.activations(D.ATTN_QK_PROBS, PassType.BACKWARD)[layer]
        close((per_norm * norm / probs)[attended], gradient[attended])
