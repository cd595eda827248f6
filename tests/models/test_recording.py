"""What a recording holds, costs and lets go of."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.property_tests import property_settings
from helpers.tiny_models import ONE_OF_EACH_FAMILY, our_model, random_tokens
from neuron_explainer.errors import InvalidRequestError, NotRecordedError, UnknownNameError
from neuron_explainer.models.hooks.taps import PlaceRequest, resolve_places
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType
MODEL_PLACES = [place for place in P if not place.is_online_autoencoder_place]


class OperationLog(TorchDispatchMode):
    """The names of the operations that run, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.names.append(str(function))
        return function(*arguments, **(keywords or {}))

    def count(self, part: str) -> int:
        return sum(part in name for name in self.names)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_every_place_has_the_shape_that_the_vocabulary_gives_it(name: str) -> None:
    model = our_model(name)
    n_tokens = 7
    with model.record(MODEL_PLACES) as recording:
        model(random_tokens(2, n_tokens))
    for place in MODEL_PLACES:
        expected = tuple(model.config.size_of(dimension) or n_tokens for dimension in place.shape)
        for layer in [None] if place.has_no_layers else range(model.config.n_layers):
            assert recording[place, layer].shape == (2, *expected), place


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_the_residual_stream_is_the_sum_of_what_is_written_to_it(name: str) -> None:
    model = our_model(name, torch.float64)
    with model.record(MODEL_PLACES) as recording:
        model(random_tokens(2, 7))
    resid = recording[P.RESID_POST_EMBEDDING]
    for layer in range(model.config.n_layers):
        resid = resid + recording[P.RESID_DELTA_ATTN, layer]
        torch.testing.assert_close(recording[P.RESID_POST_ATTN, layer], resid)
        resid = resid + recording[P.RESID_DELTA_MLP, layer]
        torch.testing.assert_close(recording[P.RESID_POST_MLP, layer], resid)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_recording_changes_no_logit(name: str) -> None:
    model = our_model(name, torch.float64)
    tokens = random_tokens(2, 9)
    plain = model(tokens)
    for place in MODEL_PLACES:
        with model.record(place):
            torch.testing.assert_close(model(tokens), plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_attention_internals_fit_together(name: str) -> None:
    model = our_model(name, torch.float64)
    with model.record(MODEL_PLACES) as recording:
        model(random_tokens(1, 8))
    queries, keys = recording[P.ATTN_QUERY, 1], recording[P.ATTN_KEY, 1]
    logits, probs = recording[P.ATTN_QK_LOGITS, 1], recording[P.ATTN_QK_PROBS, 1]
    products = torch.einsum("bfhc,bthc->bfth", queries, keys)
    softcap = model.config.attention_softcap
    if softcap is not None:
        products = softcap * torch.tanh(products / softcap)
    allowed = torch.ones(8, 8, dtype=torch.bool).tril()
    window = model.config.sliding_window_by_layer[1]
    if window is not None:
        allowed &= ~torch.ones(8, 8, dtype=torch.bool).tril(-window)
    torch.testing.assert_close(logits[:, allowed], products[:, allowed])
    assert (logits[:, ~allowed] == -torch.inf).all()
    sinks = model.blocks[1].attention.sinks
    if sinks is None:
        torch.testing.assert_close(probs, logits.softmax(2))
    else:
        weights = logits.exp()
        torch.testing.assert_close(probs, weights / (weights.sum(2, keepdim=True) + sinks.exp()))
        assert (probs.sum(2) < 1).all()
    summed = torch.einsum("bfth,bthc->bfhc", probs, recording[P.ATTN_VALUE, 1])
    torch.testing.assert_close(recording[P.ATTN_WEIGHTED_SUM_OF_VALUES, 1], summed)


def test_shared_keys_and_values_are_repeated_for_their_heads() -> None:
    model = our_model("llama")
    with model.record([P.ATTN_KEY, P.ATTN_VALUE]) as recording:
        model(random_tokens(1, 4))
    for place in (P.ATTN_KEY, P.ATTN_VALUE):
        heads = recording[place, 0]
        assert heads.shape[2] == 4
        assert torch.equal(heads[:, :, 0], heads[:, :, 1])
        assert not torch.equal(heads[:, :, 1], heads[:, :, 2])


def test_the_pattern_is_computed_in_the_layers_that_record_it_alone() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 6)
    for places, n_patterns in (
        ([], 0),
        ([(P.MLP_POST_ACT, None), (P.ATTN_VALUE, None), (P.ATTN_QUERY, None)], 0),
        ([(P.ATTN_QK_PROBS, 1)], 1),
        ([(P.ATTN_QK_LOGITS, [0, 2])], 2),
    ):
        with OperationLog() as log, model.record(places):
            model(tokens)
        assert log.count("scaled_dot_product") == 3, places  # what the pass goes on with
        assert log.count("_softmax") == n_patterns, places


def test_layers_above_the_last_one_needed_are_not_run() -> None:
    model = our_model("gpt2")
    with OperationLog() as log, model.record([(P.MLP_POST_ACT, 0)]):
        assert model(random_tokens(1, 6), logits_at=None) is None
    assert log.count("gelu") == 1
    with OperationLog() as log:
        model(random_tokens(1, 6), logits_at=None)
    assert log.count("gelu") == 0
    with model.record([P.RESID_POST_FINAL_LAYER_NORM, P.LOGITS]) as recording:
        assert model(random_tokens(1, 6), logits_at=None) is None
    assert recording[P.LOGITS].shape == (1, 6, 61)


def test_an_intervention_above_what_is_recorded_still_runs() -> None:
    model = our_model("gpt2")
    with (
        model.record([(P.MLP_POST_ACT, 0)]),
        model.intervene(P.MLP_POST_ACT, 2, lambda x: x, notes_change=False) as intervention,
    ):
        model(random_tokens(1, 4), logits_at=None)
    assert intervention.n_fired == 1


def test_the_unembedding_runs_at_the_positions_asked_for_alone() -> None:
    model = our_model("gpt2")
    with model.record([P.LOGITS, P.RESID_POST_FINAL_LAYER_NORM]) as recording:
        model(random_tokens(2, 6), logits_at="last")
    assert recording[P.LOGITS].shape == (2, 1, 61)
    assert recording[P.RESID_POST_FINAL_LAYER_NORM].shape == (2, 6, 32)


def test_nothing_is_copied_but_parts_of_larger_tensors() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 6)
    with OperationLog() as plain:
        model(tokens)
    with OperationLog() as log, model.record([P.MLP_POST_ACT, P.RESID_POST_MLP, P.ATTN_WEIGHTED_SUM_OF_VALUES]):
        model(tokens)
    assert log.count("clone") == plain.count("clone")
    assert log.count("copy") == plain.count("copy")
    with model.record(P.ATTN_VALUE) as recording:
        model(tokens)
    values = recording[P.ATTN_VALUE, 0]
    assert values.untyped_storage().nbytes() == values.numel() * values.element_size()


def test_recorded_tensors_are_freed_with_the_recording() -> None:
    model = our_model("gpt2")
    with model.record(P.MLP_POST_ACT) as recording:
        model(random_tokens(1, 4))
    seen = weakref.ref(recording)
    del recording
    gc.collect()
    assert seen() is None


def test_each_pass_fills_the_recording_anew_and_it_outlives_its_context() -> None:
    model = our_model("gpt2")
    first, second = random_tokens(1, 4, seed=1), random_tokens(1, 6, seed=2)
    with model.record(P.RESID_POST_MLP) as recording:
        model(first)
        before = recording[P.RESID_POST_MLP, 1]
        model(second)
    model(first)
    assert before.shape[1] == 4
    assert recording[P.RESID_POST_MLP, 1].shape[1] == 6


def test_nested_recordings_each_hold_what_they_asked_for() -> None:
    model = our_model("gpt2")
    with model.record([(P.MLP_POST_ACT, 0)]) as outer:
        with model.record([(P.MLP_POST_ACT, None)]) as inner:
            model(random_tokens(1, 4))
        assert torch.equal(outer[P.MLP_POST_ACT, 0], inner[P.MLP_POST_ACT, 0])
        model(random_tokens(1, 5))
    assert outer[P.MLP_POST_ACT, 0].shape[1] == 5
    assert inner[P.MLP_POST_ACT, 0].shape[1] == 4
    assert set(outer) == {(P.MLP_POST_ACT, 0)}
    assert inner.layers(P.MLP_POST_ACT) == [0, 1, 2]
    assert (P.MLP_POST_ACT, 2) in inner
    assert (P.MLP_POST_ACT, 2) not in outer


def test_recordings_are_compared_as_what_they_are() -> None:
    model, tokens = our_model("gpt2"), random_tokens(1, 5)
    one, other = (model.recording("mlp_post_act") for _ in range(2))
    model(tokens, hooks=[one, other])
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_a_recording_ends_when_its_context_does_even_by_an_exception() -> None:
    model = our_model("gpt2")
    with pytest.raises(RuntimeError, match="stop"), model.record(P.MLP_POST_ACT) as recording:
        raise RuntimeError("stop")
    model(random_tokens(1, 4))
    assert len(recording) == 0


def test_asking_for_what_was_not_recorded_says_what_was() -> None:
    model = our_model("gpt2")
    with model.record([(P.MLP_POST_ACT, 1)]) as recording:
        with pytest.raises(NotRecordedError, match="no forward pass reached it"):
            recording[P.MLP_POST_ACT, 1]
        model(random_tokens(1, 4))
    with pytest.raises(NotRecordedError, match=r"layer 2 was not asked for\. Recorded: mlp\.post_act of layer 1"):
        recording[P.MLP_POST_ACT, 2]
    with (
        pytest.raises(
            NotRecordedError, match=r"Recorded: attn\.v of layers 0, 2, logits, mlp\.post_act of layers 0 to 2\."
        ),
        model.record([P.LOGITS, P.MLP_POST_ACT, (P.ATTN_VALUE, [0, 2])]) as several,
    ):
        several[P.RESID_POST_EMBEDDING]
    assert repr(recording) == "Recording(1 tensor: mlp.post_act)"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ((P.MLP_POST_ACT, 3), "no layer 3; layers: 0–2"),
        ((P.MLP_POST_ACT, -1), "no layer -1"),
        ((P.MLP_POST_ACT, [0, 7]), "no layer 7"),
        ((P.MLP_POST_ACT, True), "no layer True"),
        ((P.LOGITS, 0), "has no layers"),
    ],
)
def test_places_that_are_not_there_are_refused(request_: PlaceRequest, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        resolve_places([request_], 3)


@property_settings(50)
@given(
    n_layers=st.integers(1, 6),
    requests=st.lists(st.tuples(st.sampled_from(MODEL_PLACES), st.none() | st.sets(st.integers(0, 5)))),
)
def test_requests_resolve_to_exactly_the_places_they_name(n_layers: int, requests: list) -> None:
    valid = [
        (place, None if place.has_no_layers or layers is None else {layer % n_layers for layer in layers})
        for place, layers in requests
    ]
    expected: set[tuple[P, int | None]] = set()
    for place, layers in valid:
        if place.has_no_layers:
            expected.add((place, None))
        else:
            expected |= {(place, layer) for layer in (range(n_layers) if layers is None else layers)}
    assert resolve_places(valid, n_layers) == expected


@pytest.mark.parametrize(
    "places",
    [
        "MLP_POST_ACT",
        "mlp.post_act",
        ["mlp_post_act"],
        [("Mlp_Post_Act", None)],
        ("mlp_post_act", range(3)),
        ["mlp_post_act", ("mlp_post_act", np.int64(1))],
        [("mlp_post_act", np.arange(2)), ("mlp_post_act", torch.tensor(2))],
    ],
)
def test_places_by_name_or_value_and_layers_as_any_whole_number(places: Any) -> None:
    model = our_model("gpt2")
    with model.record(places) as recording:
        model(random_tokens(1, 4))
    assert recording.layers("MLP_POST_ACT") == [0, 1, 2]
    assert set(recording) == {(P.MLP_POST_ACT, layer) for layer in range(3)}
    for layer in (1, np.int32(1), torch.tensor(1)):
        assert recording["mlp_post_act", layer] is recording[P.MLP_POST_ACT, 1]
        assert ("mlp_post_act", layer) in recording
    assert ("mlp_post_act", 1.5) not in recording
    assert "nonsense" not in recording


def test_one_pair_is_one_request() -> None:
    model = our_model("gpt2")
    with model.record(("attn_qk_probs", 2), gradients=True) as recording:
        logits = model(random_tokens(1, 4))
        recording.backward(logits[0, -1, 0])
    assert set(recording) == {(P.ATTN_QK_PROBS, 2)}
    assert recording.gradient("attn_qk_probs", np.int64(2)) is recording.gradient(P.ATTN_QK_PROBS, 2)
    with model.record(("logits", "mlp_pre_act")) as both:
        model(random_tokens(1, 4))
    assert len(both) == 4
    assert both["logits"] is both[P.LOGITS]


@pytest.mark.parametrize("places", ["mlp_post_akt", ["mlp_post_akt"], [("mlp_post_akt", 0)]])
def test_unknown_places_are_answered_with_the_nearest(places: Any) -> None:
    with pytest.raises(UnknownNameError, match="Unknown place"):
        our_model("gpt2").record(places)
    with our_model("gpt2").record("mlp_post_act") as recording, pytest.raises(UnknownNameError, match="mlp_post_akt"):
        recording["mlp_post_akt", 0]
