"""Looking changes nothing: a pass that is recorded gives the logits of one that is not, bit for bit."""

from contextlib import ExitStack

import pytest
import torch

from helpers.tiny_models import HF_CONFIGS, ONE_OF_EACH_FAMILY, our_model, random_tokens
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType
MODEL_PLACES = [place for place in P if not place.is_online_autoencoder_place]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HF_CONFIGS)
def test_recording_every_place_changes_no_bit(name: str, dtype: torch.dtype) -> None:
    model = our_model(name, dtype)
    tokens = random_tokens(2, 9)
    plain = model(tokens)
    for places in [*MODEL_PLACES, MODEL_PLACES]:
        with model.record(places):
            assert torch.equal(model(tokens), plain), places
        with model.record(places, gradients=True) as recording:
            logits = model(tokens)
        assert torch.equal(logits, plain), f"{places}, with gradients"
        assert len(recording) > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_interventions_that_return_what_they_got_change_no_bit(name: str, dtype: torch.dtype) -> None:
    model = our_model(name, dtype)
    tokens = random_tokens(2, 9)
    plain = model(tokens)
    with ExitStack() as contexts:
        for place in MODEL_PLACES:
            contexts.enter_context(model.intervene(place, None, lambda tensor: tensor, notes_change=False))
        assert torch.equal(model(tokens), plain)
        contexts.enter_context(model.record(MODEL_PLACES, gradients=True))
        assert torch.equal(model(tokens), plain)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_recording_with_a_cache_changes_no_bit(name: str, dtype: torch.dtype) -> None:
    model = our_model(name, dtype)
    tokens = random_tokens(1, 9)

    def logits_in_two_parts() -> torch.Tensor:
        cache = KeyValueCache()
        return torch.cat([model(tokens[:, :6], cache=cache), model(tokens[:, 6:], cache=cache)], dim=1)

    plain = logits_in_two_parts()
    with model.record(MODEL_PLACES):
        assert torch.equal(logits_in_two_parts(), plain)


@pytest.mark.parametrize("place", [P.ATTN_QK_LOGITS, P.ATTN_QK_PROBS, P.ATTN_QUERY, P.ATTN_KEY])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_what_an_intervention_leaves_alone_stays_to_the_bit(name: str, place: P) -> None:
    """In place too: what the pass would have given is computed before the tensor is handed out."""
    model = our_model(name, torch.bfloat16)
    tokens = random_tokens(2, 9)
    plain = model(tokens)

    def change_the_last_token(tensor: torch.Tensor) -> torch.Tensor:
        tensor[1, -1, -1] *= 0.5
        return tensor

    with model.intervene(place, 1, change_the_last_token):
        changed = model(tokens)
    assert torch.equal(changed[0], plain[0])
    assert torch.equal(changed[1, :-1], plain[1, :-1]) or place is P.ATTN_KEY
    assert not torch.equal(changed[1, -1], plain[1, -1])


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_recorded_patterns_are_those_of_float32_rounded_once(name: str) -> None:
    """What is shown agrees with what the pass goes on with, as far as the dtype goes."""
    half = our_model(name, torch.bfloat16)
    tokens = random_tokens(1, 9)
    with half.record([P.ATTN_QK_PROBS, P.ATTN_VALUE, P.ATTN_WEIGHTED_SUM_OF_VALUES]) as recording:
        half(tokens)
    for layer in range(half.config.n_layers):
        probs, values = (recording[place, layer].double() for place in (P.ATTN_QK_PROBS, P.ATTN_VALUE))
        summed = torch.einsum("bfth,bthc->bfhc", probs, values)
        actual = recording[P.ATTN_WEIGHTED_SUM_OF_VALUES, layer].double()
        assert float((actual - summed).abs().max()) < 0.02 * float(summed.abs().max())
