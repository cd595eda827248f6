"""Interventions replace what they are told to, see what they should, and never linger or do nothing silently."""

import numpy as np
import pytest
import torch

from helpers.tiny_models import ONE_OF_EACH_FAMILY, our_model, random_tokens
from neuron_explainer.errors import (
    InterventionNeverFiredError,
    InterventionResultError,
    InvalidRequestError,
    UnknownNameError,
)
from neuron_explainer.vocabulary import axes
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType
MODEL_PLACES = [place for place in P if not place.is_online_autoencoder_place]
LAYER_PLACES = [place for place in MODEL_PLACES if not place.has_no_layers]


def stretched(tensor: torch.Tensor) -> torch.Tensor:
    """Changed in each channel by another factor, so that no norm can undo it."""
    return tensor * torch.linspace(1.5, 0.5, tensor.shape[-1], dtype=tensor.dtype)


def shrunk_for_later_tokens(scale: torch.Tensor) -> torch.Tensor:
    return scale * torch.linspace(1.5, 0.5, scale.shape[1], dtype=scale.dtype)[:, None]


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_replacing_by_what_was_recorded_reproduces_the_other_prompts_logits(name: str) -> None:
    model = our_model(name, torch.float64)
    clean, corrupt = random_tokens(1, 6, seed=1), random_tokens(1, 6, seed=2)
    with model.record(P.RESID_POST_MLP) as recording:
        expected = model(clean)
    with model.intervene(P.RESID_POST_MLP, 1, lambda resid: recording[P.RESID_POST_MLP, 1]):
        torch.testing.assert_close(model(corrupt), expected)
    torch.testing.assert_close(model(clean), expected)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_every_place_can_be_intervened_on(name: str) -> None:
    model = our_model(name, torch.float64)
    tokens = random_tokens(2, 6)
    plain = model(tokens)
    for place in MODEL_PLACES:
        layer = None if place.has_no_layers else 1
        with model.intervene(place, layer, lambda x: x.clone(), notes_change=False):
            torch.testing.assert_close(model(tokens), plain, rtol=0, atol=1e-10)
        # One factor for a whole scale cancels where queries, keys and what attention writes are normalised after it.
        stretch = shrunk_for_later_tokens if place.shape == axes.ONE else stretched
        with model.record([(place, layer)]) as recording, model.intervene(place, layer, stretch):
            assert not torch.allclose(model(tokens), plain, atol=1e-6), place
        with model.record([(place, layer)]) as unchanged:
            model(tokens)
        torch.testing.assert_close(recording[place, layer], stretch(unchanged[place, layer]))


def test_ablating_a_neuron_takes_its_write_away() -> None:
    model = our_model("gpt2", torch.float64)
    tokens = random_tokens(1, 5)

    def ablate(neurons: torch.Tensor) -> torch.Tensor:
        neurons[:, 2, 7] = 0.0
        return neurons

    with model.record([P.MLP_POST_ACT, P.RESID_DELTA_MLP]) as before:
        model(tokens)
    with model.record([P.RESID_DELTA_MLP]) as after, model.intervene(P.MLP_POST_ACT, 2, ablate):
        model(tokens)
    difference = before[P.RESID_DELTA_MLP, 2] - after[P.RESID_DELTA_MLP, 2]
    write = before[P.MLP_POST_ACT, 2][0, 2, 7] * model.blocks[2].mlp.output_weight[:, 7]
    torch.testing.assert_close(difference[0, 2], write)
    assert difference[0, [0, 1, 3, 4]].abs().max() == 0


def test_the_order_at_a_place_is_intervene_record_and_then_what_comes_after() -> None:
    model = our_model("gpt2", torch.float64)
    tokens = random_tokens(1, 4)
    seen: list[str] = []

    def note(word: str, factor: float):
        def intervene(tensor: torch.Tensor) -> torch.Tensor:
            seen.append(word)
            return tensor * factor

        return intervene

    with model.record(P.MLP_POST_ACT) as plain:
        model(tokens)
    with (
        model.intervene(P.MLP_POST_ACT, 1, note("after", 5.0), after_recording=True),
        model.intervene(P.MLP_POST_ACT, 1, note("first", 2.0)),
        model.record([P.MLP_POST_ACT, P.RESID_DELTA_MLP]) as recording,
        model.intervene(P.MLP_POST_ACT, 1, note("second", 3.0)),
    ):
        model(tokens)
    assert seen == ["first", "second", "after"]
    torch.testing.assert_close(recording[P.MLP_POST_ACT, 1], 6.0 * plain[P.MLP_POST_ACT, 1])
    written = model.blocks[1].mlp.output(30.0 * plain[P.MLP_POST_ACT, 1])
    torch.testing.assert_close(recording[P.RESID_DELTA_MLP, 1], written)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_changing_in_place_never_corrupts_a_recording(name: str, gradients: bool) -> None:
    model = our_model(name, torch.float64)
    tokens = random_tokens(2, 5)
    with model.record(MODEL_PLACES) as expected:
        model(tokens)
    for place in MODEL_PLACES:
        layer = None if place.has_no_layers else 1

        def spoil(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.fill_(0.25)

        with (
            model.record(MODEL_PLACES, gradients=gradients) as recording,
            model.intervene(place, layer, spoil, after_recording=True),
        ):
            model(tokens)
        # what was computed before the place, and the place itself, is as without the intervention
        torch.testing.assert_close(recording[place, layer], expected[place, layer])
        torch.testing.assert_close(recording[P.RESID_POST_EMBEDDING], expected[P.RESID_POST_EMBEDDING])
        if place != P.RESID_POST_EMBEDDING:
            for earlier in LAYER_PLACES:
                torch.testing.assert_close(recording[earlier, 0], expected[earlier, 0])
        with model.record([(place, layer)], gradients=gradients) as changed, model.intervene(place, layer, spoil):
            model(tokens)
        assert (changed[place, layer] == 0.25).all()


def test_a_tensor_that_the_caller_keeps_does_not_become_the_recording() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 4)
    buffer = torch.zeros(1, 4, 32)

    def count_up(resid: torch.Tensor) -> torch.Tensor:
        return buffer.add_(1.0)

    with model.record(P.RESID_POST_MLP) as recording, model.intervene(P.RESID_POST_MLP, None, count_up):
        model(tokens)
    assert [float(recording[P.RESID_POST_MLP, layer].mean()) for layer in range(3)] == [1.0, 2.0, 3.0]


def test_a_recorded_tensor_given_back_elsewhere_is_not_changed_by_the_next_intervention() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 4)
    with (
        model.record(P.RESID_POST_MLP) as recording,
        model.intervene(P.RESID_POST_MLP, 2, lambda resid: recording[P.RESID_POST_MLP, 0]),
        model.intervene(P.RESID_POST_MLP, 2, lambda resid: resid.zero_()),
    ):
        model(tokens)
    assert recording[P.RESID_POST_MLP, 0].abs().sum() > 0
    assert recording[P.RESID_POST_MLP, 2].abs().sum() == 0


def test_a_place_within_an_intervention_is_recorded_and_intervened_on() -> None:
    model = our_model("gpt2", torch.float64)
    tokens = random_tokens(1, 4)
    latents_place = P.ONLINE_AUTOENCODER_LATENT

    def autoencode(neurons: torch.Tensor) -> torch.Tensor:
        latents = model.at_place(latents_place, 1, neurons * 2.0)
        return latents / 2.0

    places = [(latents_place, 1), (P.MLP_POST_ACT, 1), (P.RESID_POST_MLP, 2)]
    with (
        model.record(places, gradients=True) as recording,
        model.intervene(P.MLP_POST_ACT, 1, autoencode, after_recording=True),
        model.intervene(latents_place, 1, lambda latents: latents + 1.0) as inner,
    ):
        recording.backward(model(tokens)[0, -1, 3])
    assert inner.n_fired == 1
    torch.testing.assert_close(recording[latents_place, 1], 2 * recording[P.MLP_POST_ACT, 1] + 1.0)
    torch.testing.assert_close(recording.gradient(P.MLP_POST_ACT, 1), 2 * recording.gradient(latents_place, 1))


def test_several_layers_at_once() -> None:
    model = our_model("gpt2")
    with (
        model.intervene(P.MLP_POST_ACT, [0, 2], torch.zeros_like) as intervention,
        model.record(P.MLP_POST_ACT) as found,
    ):
        model(random_tokens(1, 4))
    assert intervention.n_fired == 2
    assert [bool(found[P.MLP_POST_ACT, layer].any()) for layer in range(3)] == [False, True, False]


def test_an_intervention_that_never_fired_is_an_error_at_exit() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 4)
    with (
        pytest.raises(InterventionNeverFiredError, match=r"mlp\.post_act of layer 1"),
        model.intervene(P.MLP_POST_ACT, 1, torch.zeros_like),
    ):
        pass
    with (
        pytest.raises(InterventionNeverFiredError, match="autoencoders exist only while one runs"),
        model.intervene(P.ONLINE_AUTOENCODER_LATENT, 1, torch.zeros_like),
    ):
        model(tokens)


def test_another_exception_is_not_hidden_by_it_and_nothing_lingers() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 4)
    plain = model(tokens)
    with (
        pytest.raises(ZeroDivisionError),
        model.intervene(P.MLP_POST_ACT, 1, lambda x: x / (1 // 0)),
        model.intervene(P.MLP_POST_ACT, 2, torch.zeros_like),
        model.record(P.MLP_POST_ACT),
    ):
        model(tokens)
    torch.testing.assert_close(model(tokens), plain, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: None, "returned NoneType"),
        (lambda x: x[:, :1], r"shape \(1, 1, 128\)"),
        (lambda x: x.double(), "float64"),
    ],
)
def test_a_result_that_cannot_take_the_tensors_place_is_refused(result, message: str) -> None:
    model = our_model("gpt2")
    with pytest.raises(InterventionResultError, match=message), model.intervene(P.MLP_POST_ACT, 1, result):
        model(random_tokens(1, 4))


def test_senseless_interventions_are_refused() -> None:
    model = our_model("gpt2")
    with pytest.raises(InvalidRequestError, match="no layer 5"):
        model.intervene(P.MLP_POST_ACT, 5, torch.zeros_like)
    with pytest.raises(InvalidRequestError, match="after_recording"):
        model.intervene(P.MLP_POST_ACT, 1, torch.zeros_like, pass_type=PassType.BACKWARD, after_recording=True)


def test_places_and_pass_types_by_name() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 4)
    with model.intervene("MLP_POST_ACT", np.int64(1), torch.zeros_like) as by_name:
        named = model(tokens)
    with model.intervene(P.MLP_POST_ACT, 1, torch.zeros_like):
        assert torch.equal(named, model(tokens))
    assert by_name.n_fired == 1
    with (
        model.record("mlp_post_act", gradients=True) as recording,
        model.intervene("mlp.post_act", [0, 1], torch.zeros_like, pass_type="BACKWARD"),
    ):
        recording.backward(model(tokens)[0, -1, 0])
    assert not recording.gradient("mlp_post_act", 0).any()
    with pytest.raises(UnknownNameError, match="Unknown pass type"):
        model.intervene("mlp_post_act", 1, torch.zeros_like, pass_type="sideways")
