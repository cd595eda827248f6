"""Gradients at recorded places, against autograd on a functional forward pass and finite differences."""

from functools import partial

import pytest
import torch

from helpers.tiny_models import ONE_OF_EACH_FAMILY, our_model, random_tokens
from neuron_explainer.errors import InterventionNeverFiredError, InvalidRequestError, NotRecordedError
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType
MODEL_PLACES = [place for place in P if not place.is_online_autoencoder_place]


def loss_of(logits: torch.Tensor) -> torch.Tensor:
    return (logits[:, -1, 3] - logits[:, -1, 5]).sum()


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_gradients_agree_with_finite_differences_at_every_place(name: str) -> None:
    model = our_model(name, torch.float64)
    tokens = random_tokens(2, 6)
    with model.record(MODEL_PLACES, gradients=True) as recording:
        recording.backward(loss_of(model(tokens)))
    generator = torch.Generator().manual_seed(1)
    step = 1e-5
    for place in MODEL_PLACES:
        layer = None if place.has_no_layers else 1
        gradient = recording.gradient(place, layer)
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        losses = []
        for sign in (1, -1):
            with model.intervene(place, layer, partial(torch.add, sign * step * direction)):
                losses.append(loss_of(model(tokens)))
        measured = (losses[0] - losses[1]) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), measured, rtol=1e-5, atol=1e-7, msg=f"{name} {place}")


def test_gradients_are_the_same_whatever_else_is_recorded() -> None:
    model = our_model("gpt2", torch.float64)
    tokens = random_tokens(1, 5)
    with model.record(MODEL_PLACES, gradients=True) as everything:
        everything.backward(loss_of(model(tokens)))
    for place in (P.MLP_POST_ACT, P.ATTN_VALUE, P.RESID_POST_ATTN, P.ATTN_QK_PROBS):
        with model.record([(place, 1)], gradients=True) as alone:
            alone.backward(loss_of(model(tokens)))
        torch.testing.assert_close(alone.gradient(place, 1), everything.gradient(place, 1))


def test_weights_never_get_gradients_and_the_graph_starts_where_recording_starts() -> None:
    model = our_model("llama")
    with (
        model.record([(P.MLP_POST_ACT, 2)], gradients=True) as recording,
        model.record([(P.RESID_POST_MLP, 1)]) as below,
    ):
        logits = model(random_tokens(1, 4))
        recording.backward(loss_of(logits))
    assert recording[P.MLP_POST_ACT, 2].is_leaf
    assert not below[P.RESID_POST_MLP, 1].requires_grad
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


def test_a_place_that_the_scalar_does_not_depend_on_has_a_gradient_of_zeros() -> None:
    model = our_model("gpt2")
    with model.record([(P.MLP_POST_ACT, None)], gradients=True) as recording:
        model(random_tokens(1, 4), logits_at=None)
        recording.backward(recording[P.MLP_POST_ACT, 1][0, 2, 7])
    assert recording.gradient(P.MLP_POST_ACT, 2).eq(0).all()
    assert recording.gradient(P.MLP_POST_ACT, 1).sum() == 1
    assert recording.gradient(P.MLP_POST_ACT, 0).abs().sum() > 0


def test_without_gradients_nothing_is_attached_to_a_graph() -> None:
    model = our_model("gpt2")
    with model.record([(P.MLP_POST_ACT, None)]) as recording:
        logits = model(random_tokens(1, 4))
    assert not logits.requires_grad
    assert not recording[P.MLP_POST_ACT, 0].requires_grad
    with pytest.raises(InvalidRequestError, match="gradients=True"):
        recording.backward(logits.sum())


def test_a_recording_without_gradients_beside_one_with_them_is_detached() -> None:
    model = our_model("gpt2")
    with model.record(P.MLP_POST_ACT, gradients=True) as attached, model.record(P.MLP_POST_ACT) as plain:
        model(random_tokens(1, 4))
    assert attached[P.MLP_POST_ACT, 1].requires_grad
    assert not plain[P.MLP_POST_ACT, 1].requires_grad


def test_several_scalars_can_be_differentiated_one_after_the_other() -> None:
    model = our_model("gpt2", torch.float64)
    with model.record(P.RESID_POST_MLP, gradients=True) as recording:
        logits = model(random_tokens(1, 4))
        recording.backward(logits[0, -1, 1], retain_graph=True)
        first = recording.gradient(P.RESID_POST_MLP, 0)
        recording.backward(2 * logits[0, -1, 1])
    torch.testing.assert_close(recording.gradient(P.RESID_POST_MLP, 0), 2 * first)


def test_what_cannot_be_differentiated_is_refused() -> None:
    model = our_model("gpt2")
    with model.record(P.MLP_POST_ACT, gradients=True) as recording:
        logits = model(random_tokens(1, 4))
        with pytest.raises(InvalidRequestError, match=r"\(1, 4, 61\)"):
            recording.backward(logits)
        with pytest.raises(InvalidRequestError, match="does not depend on anything that was recorded"):
            recording.backward(torch.tensor(1.0))
        with pytest.raises(NotRecordedError, match="backward"):
            recording.gradient(P.MLP_POST_ACT, 0)


def test_a_backward_intervention_replaces_the_gradient_for_recordings_and_upstream() -> None:
    model = our_model("gpt2", torch.float64)
    tokens = random_tokens(1, 5)
    replacement = torch.randn(1, 5, 128, dtype=torch.float64)
    places = [(P.MLP_POST_ACT, 1), (P.MLP_PRE_ACT, 1)]
    with (
        model.record(places, gradients=True) as recording,
        model.intervene(P.MLP_POST_ACT, 1, lambda gradient: replacement, pass_type=PassType.BACKWARD) as intervention,
    ):
        recording.backward(loss_of(model(tokens)))
    assert intervention.n_fired == 1
    torch.testing.assert_close(recording.gradient(P.MLP_POST_ACT, 1), replacement)
    # upstream: the derivative of tanh-approximated gelu, by autograd alone
    pre_act = recording[P.MLP_PRE_ACT, 1].detach().requires_grad_()
    torch.nn.functional.gelu(pre_act, approximate="tanh").backward(replacement)
    torch.testing.assert_close(recording.gradient(P.MLP_PRE_ACT, 1), pre_act.grad)


def test_a_backward_intervention_may_change_its_argument_in_place() -> None:
    model = our_model("gpt2", torch.float64)
    with (
        model.record(P.RESID_POST_ATTN, gradients=True) as recording,
        model.intervene(P.RESID_POST_ATTN, 0, lambda gradient: gradient.zero_(), pass_type=PassType.BACKWARD),
    ):
        recording.backward(loss_of(model(random_tokens(1, 4))))
    assert recording.gradient(P.RESID_POST_ATTN, 0).eq(0).all()
    assert recording.gradient(P.RESID_POST_ATTN, 1).abs().sum() > 0


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_zero_gradient_at_the_scale_freezes_the_norm(name: str) -> None:
    model = our_model(name, torch.float64)
    tokens = random_tokens(1, 5)
    with (
        model.record([P.RESID_POST_MLP, P.RESID_FINAL_LAYER_NORM_SCALE], gradients=True) as recording,
        model.intervene(P.RESID_FINAL_LAYER_NORM_SCALE, None, torch.zeros_like, pass_type=PassType.BACKWARD),
    ):
        recording.backward(loss_of(model(tokens)))
    resid = recording[P.RESID_POST_MLP, 2].detach().requires_grad_()
    loss_of(model.unembed(model.final_norm(resid, detach_scale=True))).backward()
    torch.testing.assert_close(recording.gradient(P.RESID_POST_MLP, 2), resid.grad)


def test_a_backward_intervention_above_the_scalar_or_without_backward_pass_is_an_error() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 4)
    with (
        pytest.raises(InterventionNeverFiredError, match="backward pass"),
        model.record(P.MLP_POST_ACT, gradients=True),
        model.intervene(P.MLP_POST_ACT, 1, torch.zeros_like, pass_type=PassType.BACKWARD),
    ):
        model(tokens)


def test_a_backward_intervention_fires_though_nothing_upstream_is_recorded() -> None:
    model = our_model("gpt2")
    with (
        model.record([(P.MLP_POST_ACT, 2)], gradients=True) as recording,
        model.intervene(P.MLP_POST_ACT, 1, torch.zeros_like, pass_type=PassType.BACKWARD) as intervention,
    ):
        recording.backward(loss_of(model(random_tokens(1, 4))))
    assert intervention.n_fired == 1


def test_backward_interventions_end_with_their_context() -> None:
    model = our_model("gpt2", torch.float64)
    tokens = random_tokens(1, 4)
    with model.record(P.MLP_POST_ACT, gradients=True) as recording:
        with model.intervene(P.MLP_POST_ACT, 1, torch.zeros_like, pass_type=PassType.BACKWARD):
            logits = model(tokens)
            recording.backward(loss_of(logits), retain_graph=True)
        assert recording.gradient(P.MLP_POST_ACT, 1).eq(0).all()
        recording.backward(loss_of(logits))
        assert recording.gradient(P.MLP_POST_ACT, 1).abs().sum() > 0


def test_gradients_flow_through_forward_interventions() -> None:
    model = our_model("gpt2", torch.float64)
    vector = torch.zeros(32, dtype=torch.float64, requires_grad=True)
    with (
        model.record([], gradients=True),
        model.intervene(P.RESID_POST_MLP, 1, lambda resid: resid + vector, notes_change=False),
    ):
        loss = loss_of(model(random_tokens(1, 4)))
    (gradient,) = torch.autograd.grad(loss, vector)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_the_pieces_of_a_block_give_what_is_recorded(name: str) -> None:
    model = our_model(name, torch.float64)
    with model.record(MODEL_PLACES) as recording:
        logits = model(random_tokens(2, 9))
    for block in model.blocks:
        layer = block.layer
        normed = block.attention_input(recording[block.attention_reads_from])
        queries, keys = block.queries(normed), block.keys(normed)
        torch.testing.assert_close(queries, recording[P.ATTN_QUERY, layer])
        torch.testing.assert_close(keys, recording[P.ATTN_KEY, layer])
        torch.testing.assert_close(block.values(normed), recording[P.ATTN_VALUE, layer])
        torch.testing.assert_close(block.qk_logits(queries, keys), recording[P.ATTN_QK_LOGITS, layer])
        normed = block.mlp_input(recording[block.mlp_reads_from])
        torch.testing.assert_close(block.mlp_pre_act(normed), recording[P.MLP_PRE_ACT, layer])
        torch.testing.assert_close(block.mlp_post_act(normed), recording[P.MLP_POST_ACT, layer])
        torch.testing.assert_close(*writes(model, layer, recording))
    torch.testing.assert_close(model.unembed(model.final_norm(recording[P.RESID_POST_MLP, 2])), logits)


def writes(model: Transformer, layer: int, recording: Recording) -> tuple[torch.Tensor, torch.Tensor]:
    """What attention and MLP write, put together from their parts, and as recorded."""
    block = model.blocks[layer]
    summed, post_act = recording[P.ATTN_WEIGHTED_SUM_OF_VALUES, layer], recording.kept((P.MLP_POST_ACT, layer))
    weights: tuple[torch.Tensor, ...] = ()
    if isinstance(block.mlp, MixtureOfExperts):
        weights = (block.mlp.route(recording[P.RESID_POST_ATTN_LAYER_NORM, layer])[1],)
    together = []
    for output, post_norm in (
        (block.attention.output(summed), block.attention_post_norm_at(summed)),
        (block.mlp.output(post_act, *weights), block.mlp_post_norm_at(post_act)),
    ):
        together.append(output if post_norm is None else output * post_norm.factor)
    recorded = recording[P.RESID_DELTA_ATTN, layer] + recording[P.RESID_DELTA_MLP, layer]
    return together[0] + together[1], recorded
