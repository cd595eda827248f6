"""Gradients are slopes, in every family: of the loss, of a traced activation, and where activations are overwritten."""

from functools import partial

import pytest
import torch
from torch import Tensor

from helpers.derived_scalars import FAMILIES, PROMPT, close, context, derived, logit_difference, loss_with, slope
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("place", "activation", "effect", "position", "layer"),
    [
        (Place.MLP_POST_ACT, D.MLP_POST_ACT, D.MLP_ACT_TIMES_GRAD, (3, 11), 0),
        (Place.MLP_POST_ACT, D.MLP_POST_ACT, D.MLP_ACT_TIMES_GRAD, (5, 2), 2),
        (Place.ATTN_QK_PROBS, D.ATTN_QK_PROBS, D.UNFLATTENED_ATTN_ACT_TIMES_GRAD, (4, 2, 1), 1),
        (Place.ATTN_QK_PROBS, D.ATTN_QK_PROBS, D.UNFLATTENED_ATTN_ACT_TIMES_GRAD, (5, 2, 3), 0),
    ],
)
def test_act_times_grad_is_the_activation_times_the_slope_of_the_loss(
    family: str, place: Place, activation: D, effect: D, position: tuple[int, ...], layer: int
) -> None:
    store = derived(family, [activation, effect])
    value = float(store.activations(activation)[layer][position])
    index = ActivationIndex(place, layer, position)
    measured = value * slope(partial(loss_with, family, index), value)
    close(store.activations(effect)[layer][position], measured, 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_raw_gradients_are_slopes(family: str) -> None:
    store = derived(family, [D.RESID_DELTA_ATTN, D.ATTN_VALUE, D.MLP_PRE_ACT], derive_gradients=True)
    for dst, place, position in [
        (D.RESID_DELTA_ATTN, Place.RESID_DELTA_ATTN, (2, 9)),
        (D.ATTN_VALUE, Place.ATTN_VALUE, (1, 3, 5)),
        (D.MLP_PRE_ACT, Place.MLP_PRE_ACT, (4, 30)),
    ]:
        value = float(store.activations(dst)[1][position])
        index = ActivationIndex(place, 1, position)
        measured = slope(partial(loss_with, family, index), value)
        close(store.activations(dst, PassType.BACKWARD)[1][position], measured, 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_attribution_is_the_slope_along_each_embedding(family: str) -> None:
    attribution = derived(family, D.TOKEN_ATTRIBUTION).activations(D.TOKEN_ATTRIBUTION)[None]
    model = context(family).get_or_create_model()

    def loss_at(token: int, factor: float) -> float:
        def stretched(embedded: Tensor) -> Tensor:
            embedded = embedded.clone()
            embedded[:, token] *= factor
            return embedded

        with model.intervene(Place.RESID_POST_EMBEDDING, None, stretched):
            logits = model(torch.tensor([PROMPT]))
        return float(logit_difference(logits[0]))

    for token in range(len(PROMPT)):
        close(attribution[token, 0], slope(partial(loss_at, token), 1.0), 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pre_or_post", list(PreOrPostAct))
def test_a_trace_s_gradient_is_the_slope_of_the_traced_activation(family: str, pre_or_post: PreOrPostAct) -> None:
    place = D.MLP_PRE_ACT if pre_or_post is PreOrPostAct.PRE else D.MLP_POST_ACT
    trace = TraceConfig(NodeIndex(NodeType.MLP_NEURON, 2, (4, 6)), pre_or_post)
    store = derived(family, [D.MLP_ACT_TIMES_GRAD, D.MLP_POST_ACT, place], loss=None, trace_config=trace)
    close(store.activations(place)[2][4, 6], store.traced_activation)
    value = float(store.activations(D.MLP_POST_ACT)[0][3, 5])

    def traced_at(new: float) -> float:
        ablation = AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 0, (3, 5)), new)
        return float(derived(family, place, loss=None, ablations=[ablation]).activations(place)[2][4, 6])

    close(store.activations(D.MLP_ACT_TIMES_GRAD)[0][3, 5], value * slope(traced_at, value), 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_s_query_and_key_traces_add_up_to_both(family: str) -> None:
    node = NodeIndex(NodeType.ATTENTION_HEAD, 2, (4, 1, 2))

    def traced(kind: AttentionTraceType) -> dict[int | None, Tensor]:
        trace = TraceConfig(node, PreOrPostAct.PRE, False, kind)
        return derived(family, D.MLP_ACT_TIMES_GRAD, loss=None, trace_config=trace).activations(D.MLP_ACT_TIMES_GRAD)

    query, key, both = (traced(kind) for kind in (AttentionTraceType.Q, AttentionTraceType.K, AttentionTraceType.QK))
    for layer in range(2):
        close(query[layer] + key[layer], both[layer])
    assert query[0][4].abs().sum() > 1e-6
    assert key[0][1].abs().sum() > 1e-6
    close(query[1][1], torch.zeros_like(query[1][1]))  # the layer before, at the token attended to: the key alone


@pytest.mark.parametrize("kind", [AttentionTraceType.Q, AttentionTraceType.K, AttentionTraceType.QK])
@pytest.mark.parametrize("act", list(PreOrPostAct))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_traced_head_has_the_value_that_was_recorded(
    family: str, act: PreOrPostAct, kind: AttentionTraceType
) -> None:
    node = NodeIndex(NodeType.ATTENTION_HEAD, 2, (5, 3, 1))
    dst = D.ATTN_QK_LOGITS if act is PreOrPostAct.PRE else D.ATTN_QK_PROBS
    trace = TraceConfig(node, act, attention_trace_type=kind)
    store = derived(family, [dst, D.TOKEN_ATTRIBUTION], loss=None, trace_config=trace)
    close(store.traced_activation, store.activations(dst)[2][node.slices])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_traced_value_is_the_head_s_direct_effect_on_what_is_downstream(family: str) -> None:
    """The same number, found by tracing the value and by projecting the head's write on the downstream gradient."""
    downstream = TraceConfig(NodeIndex(NodeType.MLP_NEURON, 2, (5, 6)), PreOrPostAct.PRE)
    node = NodeIndex(NodeType.ATTENTION_HEAD, 1, (5, 3, 2))
    trace = TraceConfig(node, PreOrPostAct.POST, True, AttentionTraceType.V, downstream)
    traced = derived(family, D.TOKEN_ATTRIBUTION, loss=None, trace_config=trace)
    effects = D.UNFLATTENED_ATTN_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD
    direct = derived(family, effects, loss=None, trace_config=downstream).activations(effects)[1]
    close(traced.traced_activation, direct[node.slices])


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
    store = derived(family, D.LOGITS, loss=None, ablations=[ablation])
    close(store.activations(D.LOGITS)[None], by_hand)
    assert (by_hand - model(torch.tensor([PROMPT]))[0]).abs().max() > 1e-6
