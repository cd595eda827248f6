"""`Transformer.forward_from`: what a pass over tokens gives, without the layers below."""

import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, small_context
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_it_is_the_pass_itself_bit_by_bit(name: str) -> None:
    context = small_context(name)
    transformer = context.get_or_create_model()
    tokens = torch.arange(1, 11).reshape(2, 5)
    places = [_PLACE.RESID_POST_EMBEDDING, _PLACE.RESID_POST_MLP, _PLACE.MLP_POST_ACT]
    with transformer.record(places) as recording:
        logits = transformer(tokens)
        assert logits is not None
    for layer in range(context.n_layers + 1):
        resid = recording[_PLACE.RESID_POST_MLP, layer - 1] if layer else recording[_PLACE.RESID_POST_EMBEDDING]
        above = [(_PLACE.MLP_POST_ACT, list(range(layer, context.n_layers)))] if layer < context.n_layers else []
        own = transformer.recording(above)
        again = transformer.forward_from(layer, resid, hooks=[own])
        assert again is not None
        assert torch.equal(again, logits)
        for key in own:
            assert torch.equal(own[key], recording[key])
        last = transformer.forward_from(layer, resid, logits_at="last")
        assert last is not None
        torch.testing.assert_close(last[:, 0], logits[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("in_inference_mode", [False, True])
def test_gradients_and_interventions_from_a_layer_on(in_inference_mode: bool) -> None:
    context = small_context("gpt2")
    transformer = context.get_or_create_model()
    tokens = torch.arange(1, 7)[None]
    with transformer.record([(_PLACE.RESID_POST_MLP, [0, 2])], gradients=True) as whole:
        logits = transformer(tokens)
        whole.backward(logits[0, -1, 3])
    with torch.inference_mode(in_inference_mode):
        with transformer.record([(_PLACE.RESID_POST_MLP, 2)], gradients=True) as part:
            again = transformer.forward_from(1, whole[_PLACE.RESID_POST_MLP, 0].detach())
            assert again is not None
            part.backward(again[0, -1, 3])
        torch.testing.assert_close(part.gradient(_PLACE.RESID_POST_MLP, 2), whole.gradient(_PLACE.RESID_POST_MLP, 2))
    with transformer.intervene("mlp_post_act", 2, torch.zeros_like):
        ablated = transformer(tokens)
        from_layer = transformer.forward_from(1, whole[_PLACE.RESID_POST_MLP, 0].detach())
    assert from_layer is not None
    assert torch.equal(ablated, from_layer)
    assert not torch.equal(ablated, logits)


def test_what_it_refuses() -> None:
    context = small_context("gpt2")
    transformer = context.get_or_create_model()
    resid = torch.zeros(1, 4, context.get_or_create_model().config.d_model)
    for layer, given in [
        (-1, resid),
        (context.n_layers + 1, resid),
        (0, resid[..., :-1]),
        (0, resid.double()),
        (0, resid[:, :0]),
        (0, resid.expand(1, 4, -1).repeat(1, 10_000, 1)),
    ]:
        with pytest.raises(InvalidRequestError):
            transformer.forward_from(layer, given)
    with (
        pytest.raises(ne.errors.InterventionNeverFiredError),
        transformer.intervene("mlp_post_act", 0, torch.zeros_like),
    ):
        transformer.forward_from(1, resid)
