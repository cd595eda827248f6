"""What must hold between derived scalars whatever the weights: sums, gradients, autoencoders, edges; three families.

Small random models in float64, so that what should be 0 is 1e-9; and SmolLM2's real weights for one type of each kind.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import jaxtyping
import pytest
import tokenizers
import torch
from torch import Tensor

from helpers.tiny_models import hf_model, our_model
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    AttnSubNodeIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import Identity, ReLU, TopK
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as Dst
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import AttnSubNode, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place
from neuron_explainer.vocabulary.weights import WeightLocationType

FAMILIES = ["gpt2", "gpt_neox", "llama"]
PROMPT = [5, 17, 3, 44, 17, 20]
T, LAYERS = len(PROMPT), 3
TARGET, DISTRACTOR = 7, 11


def loss(logits: Tensor) -> Tensor:
    """A logit difference at the last token."""
    return logits[-1, TARGET] - logits[-1, DISTRACTOR]


@functools.cache
def context(family: str) -> StandardModelContext:
    vocabulary = {f"t{number}": number for number in range(61)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="t0"))
    return StandardModelContext(family, our_model(family, torch.float64), ModelTokenizer.of(tokenizer))


def derived(
    family: str, *dsts: Dst, with_loss: bool = True, ablations: tuple[AblationSpec, ...] = (), **config: object
):
    settings = DstConfig(model_context=context(family), **config)  # type: ignore[arg-type]
    return derive(PROMPT, dsts, settings, loss=loss if with_loss else None, ablations=ablations)


def output_biases(family: str, layer: int) -> tuple[Tensor, Tensor]:
    """The biases that attention and the MLP add to the residual stream, by the names transformers gives them."""
    tensors = hf_model(family, torch.float64).state_dict()
    names = {
        "gpt2": ("transformer.h.{}.attn.c_proj.bias", "transformer.h.{}.mlp.c_proj.bias"),
        "gpt_neox": ("gpt_neox.layers.{}.attention.dense.bias", "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias"),
        "llama": ("none", "none"),
    }[family]
    attention, mlp = (tensors.get(name.format(layer), torch.zeros(32, dtype=torch.float64)) for name in names)
    return attention, mlp


def close(actual: Tensor | float, expected: Tensor | float, tolerance: float = 1e-9) -> None:
    actual, expected = (torch.as_tensor(value, dtype=torch.float64) for value in (actual, expected))
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def autoencoders(
    family: str, dst: Dst, activation: object = None, input_scaling: InputScaling = InputScaling.NONE
) -> AutoencoderContext:
    """Random autoencoders of every layer; with ReLU, about half of the latents are active."""
    width = context(family).n_neurons if dst is Dst.MLP_POST_ACT else 32
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return AutoencoderContext.from_autoencoders(
        dst,
        {
            layer: Autoencoder(
                random(64, width),
                random(width, 64) * 0.1,
                random(width) * 0.1,
                random(64) * 0.1,
                activation or ReLU(),  # type: ignore[arg-type]
                input_scaling=input_scaling,
            )
            for layer in range(LAYERS)
        },
    )


# Sums


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_writes_and_biases_are_what_attention_adds(family: str) -> None:
    store = derived(family, Dst.ATTN_WRITE, Dst.ATTN_WRITE_SUM_HEADS, Dst.RESID_DELTA_ATTN, with_loss=False)
    for layer, write in store.activations(Dst.ATTN_WRITE).items():
        bias, _ = output_biases(family, layer)
        close(write.sum(dim=(1, 2)) + bias, store.activations(Dst.RESID_DELTA_ATTN)[layer])
        close(write.sum(dim=2), store.activations(Dst.ATTN_WRITE_SUM_HEADS)[layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_writes_and_biases_are_what_the_mlp_adds(family: str) -> None:
    store = derived(family, Dst.MLP_WRITE, Dst.RESID_DELTA_MLP, Dst.RESID_DELTA_MLP_FROM_MLP_POST_ACT, with_loss=False)
    for layer, write in store.activations(Dst.MLP_WRITE).items():
        _, bias = output_biases(family, layer)
        close(write.sum(dim=1) + bias, store.activations(Dst.RESID_DELTA_MLP)[layer])
        close(write.sum(dim=1), store.activations(Dst.RESID_DELTA_MLP_FROM_MLP_POST_ACT)[layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_embedding_and_everything_added_are_the_residual_stream(family: str) -> None:
    raw = (Dst.RESID_POST_EMBEDDING, Dst.RESID_DELTA_ATTN, Dst.RESID_DELTA_MLP, Dst.RESID_POST_MLP)
    store = derived(family, *raw, Dst.PREVIOUS_LAYER_RESID_POST_MLP, with_loss=False)
    stream = store.activations(Dst.RESID_POST_EMBEDDING)[None]
    for layer in range(LAYERS):
        close(stream, store.activations(Dst.PREVIOUS_LAYER_RESID_POST_MLP)[layer])
        stream = stream + store.activations(Dst.RESID_DELTA_ATTN)[layer] + store.activations(Dst.RESID_DELTA_MLP)[layer]
        close(stream, store.activations(Dst.RESID_POST_MLP)[layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_all_direct_effects_and_the_biases_are_that_of_the_residual_stream(family: str) -> None:
    store = derived(
        family,
        Dst.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
        Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD,
    )
    gradient = derived(family, Dst.RESID_POST_MLP, derive_gradients=True).activations(
        Dst.RESID_POST_MLP, PassType.BACKWARD
    )
    g = gradient[LAYERS - 1]
    so_far = store.activations(Dst.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD)[None].squeeze(-1)
    for layer in range(LAYERS):
        attention_bias, mlp_bias = output_biases(family, layer)
        heads = store.activations(Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD)[layer].sum(dim=(1, 2))
        neurons = store.activations(Dst.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD)[layer].sum(dim=1)
        attention, mlp = heads + g @ attention_bias, neurons + g @ mlp_bias
        close(attention, store.activations(Dst.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD)[layer].squeeze(-1))
        close(mlp, store.activations(Dst.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD)[layer].squeeze(-1))
        so_far = so_far + attention + mlp
        if layer == LAYERS - 1:  # the residual stream there is where g is taken, and so not before it
            last = derived(family, Dst.RESID_POST_MLP).activations(Dst.RESID_POST_MLP)[layer]
            close(so_far, (last * g).sum(-1))
        else:
            close(so_far, store.activations(Dst.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD)[layer].squeeze(-1))


@pytest.mark.parametrize("family", FAMILIES)
def test_direct_effects_with_the_final_scale_held_make_the_logit_difference(family: str) -> None:
    """With the final norm's scale held, the loss is linear in the residual stream: rm·g and a constant are the loss."""
    frozen = AblationSpec(
        ActivationIndex(Place.RESID_FINAL_LAYER_NORM_SCALE, None, ("All", "All"), PassType.BACKWARD), 0
    )
    store = derived(family, Dst.RESID_POST_MLP, ablations=(frozen,), derive_gradients=True)
    rm = store.activations(Dst.RESID_POST_MLP)[LAYERS - 1]
    g = store.activations(Dst.RESID_POST_MLP, PassType.BACKWARD)[LAYERS - 1]
    unembedding = context(family).get_weight(WeightLocationType.UNEMBEDDING)
    constant = torch.zeros((), dtype=torch.float64)
    if family != "llama":  # the LayerNorm's bias, unembedded; RMSNorm has none
        bias = context(family).get_weight(WeightLocationType.FINAL_LAYER_NORM_BIAS)
        constant = bias @ (unembedding[:, TARGET] - unembedding[:, DISTRACTOR])
    close((rm * g).sum() + constant, store.loss or 0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_and_flattened_forms_say_the_same(family: str) -> None:
    store = derived(
        family,
        Dst.ATTN_WRITE,
        Dst.UNFLATTENED_ATTN_WRITE_NORM,
        Dst.ATTN_WRITE_NORM,
        Dst.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN,
        Dst.MLP_WRITE,
        Dst.MLP_WRITE_NORM,
        Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN,
    )
    lower = torch.ones(T, T, dtype=torch.bool).tril()
    for layer in range(LAYERS):
        of = {dst: store.activations(dst)[layer] for dst in store.dsts}
        close(of[Dst.ATTN_WRITE].norm(dim=-1), of[Dst.UNFLATTENED_ATTN_WRITE_NORM])
        close(of[Dst.UNFLATTENED_ATTN_WRITE_NORM][lower], of[Dst.ATTN_WRITE_NORM])
        close(of[Dst.ATTN_WRITE].sum(1).norm(dim=-1), of[Dst.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN])
        close(of[Dst.MLP_WRITE].norm(dim=-1), of[Dst.MLP_WRITE_NORM].abs())
        by_pair = of[Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD]
        close(by_pair[lower], of[Dst.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD])
        close(by_pair.sum(1), of[Dst.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN])


# Gradients


def slope(value_at: Callable[[float], float], at: float, step: float = 1e-4) -> float:
    """The derivative by central differences, of fourth order."""
    with annotations_unchecked():
        near = value_at(at + step) - value_at(at - step)
        far = value_at(at + 2 * step) - value_at(at - 2 * step)
    return (8 * near - far) / (12 * step)


@contextlib.contextmanager
def annotations_unchecked() -> Iterator[None]:
    """Checking them takes a hundred times as long as these small models do, and has been done once for each family."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def loss_with(family: str, index: ActivationIndex, value: float, **config: object) -> float:
    """The loss when one activation is overwritten."""
    outcome = derived(family, Dst.LOGITS, ablations=(AblationSpec(index, value),), **config)
    return float(loss(outcome.activations(Dst.LOGITS)[None]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("place", "activation", "effect", "position", "layer"),
    [
        (Place.MLP_POST_ACT, Dst.MLP_POST_ACT, Dst.MLP_ACT_TIMES_GRAD, (3, 11), 0),
        (Place.MLP_POST_ACT, Dst.MLP_POST_ACT, Dst.MLP_ACT_TIMES_GRAD, (5, 2), 2),
        (Place.ATTN_QK_PROBS, Dst.ATTN_QK_PROBS, Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD, (4, 2, 1), 1),
        (Place.ATTN_QK_PROBS, Dst.ATTN_QK_PROBS, Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD, (5, 0, 3), 0),
    ],
)
def test_act_times_grad_is_the_activation_times_the_slope_of_the_loss(
    family: str, place: Place, activation: Dst, effect: Dst, position: tuple[int, ...], layer: int
) -> None:
    store = derived(family, activation, effect)
    value = float(store.activations(activation)[layer][position])
    index = ActivationIndex(place, layer, position)
    measured = value * slope(lambda new: loss_with(family, index, new), value)
    close(store.activations(effect)[layer][position], measured, 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_raw_gradients_are_slopes(family: str) -> None:
    store = derived(family, Dst.RESID_DELTA_ATTN, Dst.ATTN_VALUE, Dst.MLP_PRE_ACT, derive_gradients=True)
    for dst, place, position in [
        (Dst.RESID_DELTA_ATTN, Place.RESID_DELTA_ATTN, (2, 9)),
        (Dst.ATTN_VALUE, Place.ATTN_VALUE, (1, 3, 5)),
        (Dst.MLP_PRE_ACT, Place.MLP_PRE_ACT, (4, 30)),
    ]:
        value = float(store.activations(dst)[1][position])
        index = ActivationIndex(place, 1, position)
        measured = slope(lambda new, index=index: loss_with(family, index, new), value)
        close(store.activations(dst, PassType.BACKWARD)[1][position], measured, 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_attribution_is_the_slope_along_each_embedding(family: str) -> None:
    attribution = derived(family, Dst.TOKEN_ATTRIBUTION).activations(Dst.TOKEN_ATTRIBUTION)[None]
    model = context(family).get_or_create_model()

    def loss_at(token: int, factor: float) -> float:
        def stretched(embedded: Tensor) -> Tensor:
            embedded = embedded.clone()
            embedded[:, token] *= factor
            return embedded

        with model.intervene(Place.RESID_POST_EMBEDDING, None, stretched):
            logits = model(torch.tensor([PROMPT]))
        return float(loss(logits[0]))

    for token in range(T):
        close(attribution[token, 0], slope(lambda factor, token=token: loss_at(token, factor), 1.0), 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pre_or_post", list(PreOrPostAct))
def test_a_trace_s_gradient_is_the_slope_of_the_traced_activation(family: str, pre_or_post: PreOrPostAct) -> None:
    place = Dst.MLP_PRE_ACT if pre_or_post is PreOrPostAct.PRE else Dst.MLP_POST_ACT
    if family == "llama" and pre_or_post is PreOrPostAct.PRE:
        place = Dst.MLP_PRE_ACT  # the gate
    trace = TraceConfig(NodeIndex(NodeType.MLP_NEURON, 2, (4, 6)), pre_or_post)
    store = derived(family, Dst.MLP_ACT_TIMES_GRAD, Dst.MLP_POST_ACT, place, with_loss=False, trace_config=trace)
    close(store.activations(place)[2][4, 6], store.traced_activation or 0.0)
    value = float(store.activations(Dst.MLP_POST_ACT)[0][3, 5])

    def traced_at(new: float) -> float:
        ablation = AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 0, (3, 5)), new)
        return float(derived(family, place, with_loss=False, ablations=(ablation,)).activations(place)[2][4, 6])

    close(store.activations(Dst.MLP_ACT_TIMES_GRAD)[0][3, 5], value * slope(traced_at, value), 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_s_query_and_key_traces_add_up_to_both(family: str) -> None:
    node = NodeIndex(NodeType.ATTENTION_HEAD, 2, (4, 1, 2))

    def traced(kind: AttentionTraceType) -> dict[int | None, Tensor]:
        trace = TraceConfig(node, PreOrPostAct.PRE, False, kind)
        store = derived(family, Dst.MLP_ACT_TIMES_GRAD, with_loss=False, trace_config=trace)
        return store.activations(Dst.MLP_ACT_TIMES_GRAD)

    query, key, both = (traced(kind) for kind in (AttentionTraceType.Q, AttentionTraceType.K, AttentionTraceType.QK))
    for layer in range(2):
        close(query[layer] + key[layer], both[layer])
    assert query[0][4].abs().sum() > 1e-6
    assert key[0][1].abs().sum() > 1e-6
    close(query[1][1], torch.zeros_like(query[1][1]))  # the last layer before it, at the token attended to: keys alone


@pytest.mark.parametrize("family", FAMILIES)
def test_an_ablation_is_an_edit_by_hand(family: str) -> None:
    model = context(family).get_or_create_model()

    def edited(probs: Tensor) -> Tensor:
        probs = probs.clone()
        probs[:, 4, :, 1] = 0.25
        return probs

    with model.intervene(Place.ATTN_QK_PROBS, 1, edited):
        by_hand = model(torch.tensor([PROMPT]))[0]
    ablation = AblationSpec(ActivationIndex(Place.ATTN_QK_PROBS, 1, (4, "All", 1)), 0.25)
    store = derived(family, Dst.LOGITS, with_loss=False, ablations=(ablation,))
    close(store.activations(Dst.LOGITS)[None], by_hand)
    assert (by_hand - model(torch.tensor([PROMPT]))[0]).abs().max() > 1e-6


# Autoencoders


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("activation", [ReLU(), TopK(5)], ids=["relu", "topk"])
@pytest.mark.parametrize(
    ("dst", "offline", "online"),
    [
        (Dst.MLP_POST_ACT, Dst.MLP_AUTOENCODER_LATENT, Dst.ONLINE_MLP_AUTOENCODER_LATENT),
        (Dst.RESID_DELTA_ATTN, Dst.ATTENTION_AUTOENCODER_LATENT, Dst.ONLINE_ATTENTION_AUTOENCODER_LATENT),
        (Dst.MLP_POST_ACT, Dst.AUTOENCODER_LATENT, Dst.ONLINE_AUTOENCODER_LATENT),
    ],
)
def test_online_latents_are_the_offline_ones_and_leave_the_logits_alone(
    family: str, dst: Dst, offline: Dst, online: Dst, activation: object
) -> None:
    autoencoder_context = autoencoders(family, dst, activation)
    store = derived(family, Dst.LOGITS, offline, online, autoencoder_context=autoencoder_context)
    close(store.activations(Dst.LOGITS)[None], derived(family, Dst.LOGITS).activations(Dst.LOGITS)[None])
    raw = derived(family, dst).activations(dst)
    for layer in range(LAYERS):
        close(store.activations(online)[layer], store.activations(offline)[layer])
        close(store.activations(offline)[layer], autoencoder_context.get_autoencoder(layer).encode(raw[layer]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "dst",
    [
        Dst.RESID_POST_MLP,
        Dst.RESID_POST_ATTN,
        Dst.PREVIOUS_LAYER_RESID_POST_MLP,
        Dst.ATTN_WEIGHTED_SUM_OF_VALUES,
        Dst.MLP_PRE_ACT,
    ],
)
def test_autoencoders_of_other_places_run_online_too(family: str, dst: Dst) -> None:
    width = context(family).n_neurons if dst is Dst.MLP_PRE_ACT else 32
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((20, width), (width, 20))]
    biases = torch.zeros(width, dtype=torch.float64), torch.zeros(20, dtype=torch.float64)
    autoencoder = Autoencoder(*weights, *biases, input_scaling=InputScaling.LAYER_NORM)
    autoencoder_context = AutoencoderContext.from_autoencoders(dst, {1: autoencoder})
    store = derived(
        family,
        Dst.LOGITS,
        Dst.AUTOENCODER_LATENT,
        Dst.ONLINE_AUTOENCODER_LATENT,
        dst,
        autoencoder_context=autoencoder_context,
        layer_indices=[1],
    )
    close(store.activations(Dst.LOGITS)[None], derived(family, Dst.LOGITS).activations(Dst.LOGITS)[None])
    expected = autoencoder.encode(store.activations(dst)[1].flatten(1))
    close(store.activations(Dst.AUTOENCODER_LATENT)[1], expected)
    close(store.activations(Dst.ONLINE_AUTOENCODER_LATENT)[1], expected)
    assert (expected > 0).any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("input_scaling", [InputScaling.NONE, InputScaling.LAYER_NORM])
@pytest.mark.parametrize("dst", [Dst.MLP_POST_ACT, Dst.RESID_DELTA_MLP, Dst.RESID_DELTA_ATTN])
def test_latents_and_errors_and_biases_share_a_direct_effect_out(
    family: str, dst: Dst, input_scaling: InputScaling
) -> None:
    """recon + error = x: the latents' writes to g, the error's, and the pre_bias' are the place's own."""
    autoencoder_context = autoencoders(family, dst, input_scaling=input_scaling)
    of_attention = dst is Dst.RESID_DELTA_ATTN
    error_type = {
        Dst.MLP_POST_ACT: Dst.ONLINE_MLP_AUTOENCODER_ERROR,
        Dst.RESID_DELTA_MLP: Dst.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
        Dst.RESID_DELTA_ATTN: Dst.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
    }[dst]
    writes = Dst.ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD
    whole = Dst.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD if of_attention else Dst.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD
    store = derived(family, writes, whole, error_type, dst, autoencoder_context=autoencoder_context)
    gradients = derived(family, Dst.RESID_POST_MLP, derive_gradients=True)
    g = gradients.activations(Dst.RESID_POST_MLP, PassType.BACKWARD)[LAYERS - 1]
    for layer in range(LAYERS):
        scaling = input_scaling.of(store.activations(dst)[layer])
        biases = autoencoder_context.get_autoencoder(layer).pre_bias * scaling.multiplier + scaling.shift
        rest = store.activations(error_type)[layer] + biases
        bias = torch.zeros(32, dtype=torch.float64)
        if dst is Dst.MLP_POST_ACT:
            rest = rest @ context(family).get_weight(WeightLocationType.MLP_TO_RESIDUAL, layer)
            _, bias = output_biases(family, layer)
        total = store.activations(writes)[layer].sum(-1) + ((rest + bias) * g).sum(-1)
        close(total, store.activations(whole)[layer].squeeze(-1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dst", [Dst.MLP_POST_ACT, Dst.RESID_DELTA_ATTN])
def test_a_latent_s_act_times_grad_is_the_slope_when_it_alone_is_changed(family: str, dst: Dst) -> None:
    autoencoder_context = autoencoders(family, dst)
    store = derived(
        family,
        Dst.ONLINE_AUTOENCODER_LATENT,
        Dst.ONLINE_AUTOENCODER_ACT_TIMES_GRAD,
        autoencoder_context=autoencoder_context,
    )
    latents = store.activations(Dst.ONLINE_AUTOENCODER_LATENT)[1]
    token, latent = 3, int(latents[3].argmax())
    value = float(latents[token, latent])
    assert value > 0
    index = ActivationIndex(Place.ONLINE_AUTOENCODER_LATENT, 1, (token, latent))
    measured = value * slope(lambda new: loss_with(family, index, new, autoencoder_context=autoencoder_context), value)
    close(store.activations(Dst.ONLINE_AUTOENCODER_ACT_TIMES_GRAD)[1][token, latent], measured, 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_autoencoder_changes_no_gradient_but_its_own(family: str) -> None:
    alone = derived(family, Dst.RESID_POST_MLP, derive_gradients=True)
    beside = derived(
        family,
        Dst.RESID_POST_MLP,
        derive_gradients=True,
        autoencoder_context=autoencoders(family, Dst.MLP_POST_ACT),
    )
    for layer in range(LAYERS):
        close(
            beside.activations(Dst.RESID_POST_MLP, PassType.BACKWARD)[layer],
            alone.activations(Dst.RESID_POST_MLP, PassType.BACKWARD)[layer],
        )


# Edges

UPSTREAM: dict[str, Callable[[int], NodeIndex]] = {
    "neuron": lambda token: NodeIndex(NodeType.MLP_NEURON, 0, (token, 7)),
    "head": lambda token: NodeIndex(NodeType.ATTENTION_HEAD, 0, (token, 1, 3)),
    "latent": lambda token: NodeIndex(NodeType.AUTOENCODER_LATENT, 0, (token, 9)),
}
OUT_EDGES = {
    "neuron": Dst.MLP_OUT_EDGE_ATTRIBUTION,
    "head": Dst.ATTN_OUT_EDGE_ATTRIBUTION,
    "latent": Dst.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION,
}


def head_part(part: AttnSubNode) -> NodeIndex:
    return AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 1, (4, 2, 1), q_k_or_v=part)


# Each with the token that it reads: a head's query is of the token it attends from, its key and value of the other.
DOWNSTREAM = {
    "neuron": (NodeIndex(NodeType.MLP_NEURON, 1, (2, 5)), Dst.MLP_IN_EDGE_ATTRIBUTION, 2),
    "latent": (NodeIndex(NodeType.AUTOENCODER_LATENT, 1, (2, 9)), Dst.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION, 2),
    "query": (head_part(AttnSubNode.Q), Dst.ATTN_QUERY_IN_EDGE_ATTRIBUTION, 4),
    "key": (head_part(AttnSubNode.K), Dst.ATTN_KEY_IN_EDGE_ATTRIBUTION, 2),
    "value": (head_part(AttnSubNode.V), Dst.ATTN_VALUE_IN_EDGE_ATTRIBUTION, 2),
}


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("downstream", DOWNSTREAM)
@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_edge_is_the_same_seen_from_either_end(family: str, upstream: str, downstream: str, detach: bool) -> None:
    options: dict[str, object] = {"detach_layer_norm_scale_for_attribution": detach}
    options["autoencoder_context"] = autoencoders(family, Dst.MLP_POST_ACT, Identity())
    down, in_edge, token = DOWNSTREAM[downstream]
    up = UPSTREAM[upstream](token)
    with annotations_unchecked() if detach else contextlib.nullcontext():
        seen_from_above = derived(family, in_edge, node_index_for_attribution=up, **options)
        seen_from_below = derived(family, OUT_EDGES[upstream], node_index_for_attribution=down, **options)
    from_above = seen_from_above.activations(in_edge)[1][down.slices]
    from_below = seen_from_below.activations(OUT_EDGES[upstream])[0][up.slices]
    assert abs(float(from_above)) > 1e-9
    torch.testing.assert_close(from_above, from_below, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("family", FAMILIES)
def test_edges_that_are_none_are_zero_and_others_are_not(family: str) -> None:
    last = T - 1  # the last layer's other tokens have no effect on the loss
    node = NodeIndex(NodeType.MLP_NEURON, 1, (last, 7))
    incoming = derived(family, Dst.MLP_IN_EDGE_ATTRIBUTION, node_index_for_attribution=node)
    by_layer = incoming.activations(Dst.MLP_IN_EDGE_ATTRIBUTION)
    assert (by_layer[0] == 0).all()
    assert (by_layer[1] == 0).all()
    assert by_layer[2][last].abs().max() > 0
    assert (by_layer[2][:last] == 0).all()
    outgoing = derived(family, Dst.ATTN_OUT_EDGE_ATTRIBUTION, node_index_for_attribution=node)
    heads = outgoing.activations(Dst.ATTN_OUT_EDGE_ATTRIBUTION)
    assert heads[0].abs().max() > 0
    assert (heads[2] == 0).all()
    same_layer = heads[1].abs().max()  # a parallel residual's attention is not upstream of its layer's MLP
    assert (same_layer == 0) == (family == "gpt_neox")


# SmolLM2


def smol(store_of: StandardModelContext, *dsts: Dst, **config: object) -> DerivedScalarStore:
    target, distractor = (store_of.encode_token_str(text) for text in (" Mary", " John"))
    prompt = "When Mary and John went to the store, John gave a drink to"
    return derive(
        prompt,
        dsts,
        DstConfig(model_context=store_of, **config),  # type: ignore[arg-type]
        loss=lambda logits: logits[-1, target] - logits[-1, distractor],
    )


def nearly(actual: Tensor, expected: Tensor) -> None:
    """In float32, and relative to the largest number: sums of thousands of numbers that nearly cancel."""
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()) + 1e-6)


def test_smollm2_s_direct_effects_add_up(smollm2: StandardModelContext) -> None:
    last = smollm2.n_layers - 1
    sums = (
        Dst.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
        Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    )
    store = smol(smollm2, *sums, Dst.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD)
    assert store.loss is not None
    assert store.loss > 0  # it says Mary
    total = store.activations(sums[0])[None].squeeze(-1)
    for layer in range(last):
        total = total + store.activations(sums[1])[layer].sum(dim=(1, 2)) + store.activations(sums[2])[layer].sum(dim=1)
    nearly(total, store.activations(Dst.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD)[last - 1].squeeze(-1))


def test_smollm2_s_writes_are_what_its_layers_add(smollm2: StandardModelContext) -> None:
    store = smol(
        smollm2, Dst.ATTN_WRITE, Dst.RESID_DELTA_ATTN, Dst.MLP_WRITE, Dst.RESID_DELTA_MLP, layer_indices=[3, 17]
    )
    for layer in (3, 17):
        nearly(store.activations(Dst.ATTN_WRITE)[layer].sum(dim=(1, 2)), store.activations(Dst.RESID_DELTA_ATTN)[layer])
        nearly(store.activations(Dst.MLP_WRITE)[layer].sum(dim=1), store.activations(Dst.RESID_DELTA_MLP)[layer])


def test_smollm2_s_edges_and_traces(smollm2: StandardModelContext) -> None:
    up = NodeIndex(NodeType.MLP_NEURON, 10, (5, 100))
    down = NodeIndex(NodeType.MLP_NEURON, 20, (5, 200))
    incoming = smol(smollm2, Dst.MLP_IN_EDGE_ATTRIBUTION, node_index_for_attribution=up)
    outgoing = smol(smollm2, Dst.MLP_OUT_EDGE_ATTRIBUTION, node_index_for_attribution=down)
    from_above = incoming.activations(Dst.MLP_IN_EDGE_ATTRIBUTION)[20][down.slices]
    from_below = outgoing.activations(Dst.MLP_OUT_EDGE_ATTRIBUTION)[10][up.slices]
    torch.testing.assert_close(from_above, from_below, rtol=1e-3, atol=1e-9)
    trace = TraceConfig(down, PreOrPostAct.PRE)
    store = smol(smollm2, Dst.MLP_PRE_ACT, Dst.TOKEN_ATTRIBUTION, trace_config=trace)
    assert store.traced_activation == pytest.approx(float(store.activations(Dst.MLP_PRE_ACT)[20][5, 200]), rel=1e-4)
    tokens = store.activations(Dst.TOKEN_ATTRIBUTION)[None]
    assert (tokens[6:] == 0).all()  # later tokens cannot have an effect
    assert (tokens[:6] != 0).all()


def test_smollm2_with_autoencoders_says_the_same(smollm2: StandardModelContext) -> None:
    generator = torch.Generator().manual_seed(0)
    width = smollm2.get_dim_size(Dimension.MLP_ACTS)
    autoencoder = Autoencoder(
        torch.randn(64, width, generator=generator),
        torch.randn(width, 64, generator=generator) * 0.05,
        torch.zeros(width),
        torch.zeros(64),
        TopK(8),
    )
    context_of = AutoencoderContext.from_autoencoders(Dst.MLP_POST_ACT, {12: autoencoder})
    config = {"autoencoder_context": context_of, "layer_indices": [12]}
    store = smol(smollm2, Dst.LOGITS, Dst.ONLINE_AUTOENCODER_LATENT, Dst.AUTOENCODER_LATENT, **config)
    nearly(store.activations(Dst.LOGITS)[None], smol(smollm2, Dst.LOGITS).activations(Dst.LOGITS)[None])
    online, offline = (store.activations(dst)[12] for dst in (Dst.ONLINE_AUTOENCODER_LATENT, Dst.AUTOENCODER_LATENT))
    nearly(online, offline)
    assert ((online != 0).sum(-1) <= 8).all()
