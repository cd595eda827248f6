"""Generation: the cache changes nothing, sampling follows its rules, interventions take part."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationMixin
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from helpers.property_tests import property_settings
from helpers.tiny_models import ONE_OF_EACH_FAMILY, hf_model, our_model, random_tokens
from neuron_explainer.errors import InterventionNeverFiredError, InvalidRequestError, MisconfiguredError, PromptError
from neuron_explainer.models.generation.generate import generate, stream
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType
RAGGED = [[5, 6, 7, 8, 9, 10, 11, 12], [3, 4], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_greedy_generation_agrees_with_transformers(name: str) -> None:
    prompt = random_tokens(1, 9, seed=2)
    model = hf_model(name)
    assert isinstance(model, GenerationMixin)
    theirs = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert generate(our_model(name), prompt.tolist(), max_new_tokens=6) == theirs[:, 9:].tolist()


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_the_cache_and_padding_change_nothing(name: str) -> None:
    model = our_model(name, torch.float64)
    alone = [generate(model, [prompt], max_new_tokens=5)[0] for prompt in RAGGED]
    assert generate(model, RAGGED, max_new_tokens=5) == alone
    assert generate(model, RAGGED, max_new_tokens=5, use_cache=False) == alone


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_logits_with_a_cache_are_those_of_the_whole_prompt(name: str) -> None:
    model = our_model(name, torch.float64)
    tokens = random_tokens(2, 12)
    whole = model(tokens)
    cache = KeyValueCache()
    pieces = [model(piece, cache=cache) for piece in tokens.split([5, 1, 4, 2], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    assert cache.lengths == [12, 12]


def test_what_is_recorded_with_a_cache_is_the_new_tokens_part() -> None:
    model = our_model("llama", torch.float64)
    tokens = random_tokens(1, 7)
    places = [P.ATTN_KEY, P.ATTN_QUERY, P.ATTN_QK_PROBS, P.RESID_POST_MLP]
    with model.record(places) as whole:
        model(tokens)
    cache = KeyValueCache()
    model(tokens[:, :4], cache=cache)
    with model.record(places) as later:
        model(tokens[:, 4:], cache=cache)
    for place in places:
        torch.testing.assert_close(later[place, 1], whole[place, 1][:, 4:])


def test_an_intervention_takes_part_in_every_step() -> None:
    model = our_model("gpt2", torch.float64)
    direction = torch.randn(32, dtype=torch.float64) * 3

    def steer(resid: torch.Tensor) -> torch.Tensor:
        return resid + direction

    with model.intervene(P.RESID_POST_MLP, 1, steer) as intervention:
        cached = generate(model, RAGGED, max_new_tokens=4)
        assert intervention.n_fired == 4
        whole = generate(model, RAGGED, max_new_tokens=4, use_cache=False)
    assert cached == whole
    assert cached != generate(model, RAGGED, max_new_tokens=4)


@pytest.mark.parametrize("place", [P.ATTN_KEY, P.ATTN_VALUE])
def test_intervening_on_one_heads_keys_or_values_is_remembered_by_the_cache(place: ActivationLocationType) -> None:
    model = our_model("llama", torch.float64)

    def change_head(heads: torch.Tensor) -> torch.Tensor:
        heads[:, :, 1] *= -2.0
        return heads

    with model.intervene(place, 1, change_head):
        cached = generate(model, RAGGED, max_new_tokens=4)
        assert cached == generate(model, RAGGED, max_new_tokens=4, use_cache=False)


def test_an_intervention_may_begin_after_the_prompt() -> None:
    model = our_model("llama", torch.float64)
    tokens = random_tokens(2, 6)
    cache = KeyValueCache()
    model(tokens[:, :5], cache=cache)
    with model.intervene(P.ATTN_VALUE, None, lambda values: values, notes_change=False):
        later = model(tokens[:, 5:], cache=cache)
    torch.testing.assert_close(later[:, 0], model(tokens)[:, 5])


def test_generation_stops_at_a_stop_token_and_streams() -> None:
    model = our_model("gpt2")
    free = generate(model, RAGGED, max_new_tokens=6)
    stop = free[0][3]
    stopped = generate(model, RAGGED, max_new_tokens=6, stop_tokens=[stop])
    for ours, unstopped in zip(stopped, free, strict=True):
        end = unstopped.index(stop) + 1 if stop in unstopped else 6
        assert ours == unstopped[:end]
    steps = list(stream(model, RAGGED, max_new_tokens=6, stop_tokens=[stop]))
    assert [[step[row] for step in steps if step[row] is not None] for row in range(3)] == stopped


def test_a_seed_repeats_and_leaves_the_global_generator_alone() -> None:
    model = our_model("gpt2")
    before = torch.get_rng_state()
    sampling = Sampling(temperature=3.0, seed=7)
    first = generate(model, RAGGED, sampling=sampling, max_new_tokens=5)
    assert first == generate(model, RAGGED, sampling=sampling, max_new_tokens=5)
    assert first != generate(model, RAGGED, sampling=Sampling(temperature=3.0, seed=8), max_new_tokens=5)
    generate(model, RAGGED, sampling=Sampling(temperature=3.0), max_new_tokens=2)
    assert torch.equal(before, torch.get_rng_state())


@property_settings(40)
@given(
    temperature=st.floats(0.1, 5.0),
    top_k=st.none() | st.integers(1, 25),
    top_p=st.none() | st.floats(0.05, 1.0),
    seed=st.integers(0, 1000),
)
def test_probabilities_agree_with_transformers_warpers(
    temperature: float, top_k: int | None, top_p: float | None, seed: int
) -> None:
    logits = torch.randn(2, 20, generator=torch.Generator().manual_seed(seed)) * 3
    warped = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        warped = TopKLogitsWarper(top_k)(None, warped)
    if top_p is not None and top_p < 1:
        warped = TopPLogitsWarper(top_p)(None, warped)
    ours = Sampling(temperature=temperature, top_k=top_k, top_p=top_p).probabilities(logits)
    torch.testing.assert_close(ours, warped.softmax(-1), atol=1e-5, rtol=1e-4)


def test_tokens_are_chosen_as_often_as_they_are_likely() -> None:
    sampling = Sampling(temperature=1.0, top_k=2, seed=0)
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().expand(20_000, 3)
    chosen = sampling.choose(logits, sampling.generator(torch.device("cpu")))
    frequencies = chosen.bincount(minlength=3) / 20_000
    torch.testing.assert_close(frequencies, torch.tensor([0.625, 0.375, 0.0]), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1.0}, {"temperature": 1.0, "top_k": 0}, {"temperature": 1.0, "top_p": 0.0}, {"top_k": 5}],
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MisconfiguredError):
        Sampling(**wrong)


def test_senseless_requests_are_refused_before_anything_runs() -> None:
    model = our_model("gpt2")
    with pytest.raises(InvalidRequestError, match="max_new_tokens"):
        stream(model, [[1]], max_new_tokens=0)
    with pytest.raises(PromptError, match="64"):
        stream(model, [[1] * 60], max_new_tokens=6)
    with pytest.raises(PromptError, match="at least one token"):
        stream(model, [[1], []])
    with pytest.raises(PromptError):
        stream(model, [])
    with pytest.raises(PromptError, match="no token 99"):
        generate(model, [[99]])


def test_a_full_context_can_be_written() -> None:
    model = our_model("gpt2")
    assert len(generate(model, [[1] * 60], max_new_tokens=5)[0]) == 5


def test_a_cache_refuses_gradients_and_other_batches() -> None:
    model = our_model("gpt2")
    cache = KeyValueCache()
    model(random_tokens(2, 3), cache=cache)
    with pytest.raises(InvalidRequestError, match="2 prompts"):
        model(random_tokens(1, 1), cache=cache)
    with model.record(P.MLP_POST_ACT, gradients=True), pytest.raises(InvalidRequestError, match="cache"):
        model(random_tokens(2, 1), cache=cache)


def test_an_intervention_that_generation_never_reaches_is_an_error() -> None:
    model = our_model("gpt2")
    with (
        pytest.raises(InterventionNeverFiredError),
        model.intervene(P.ONLINE_AUTOENCODER_LATENT, 0, lambda latents: latents, notes_change=False),
    ):
        generate(model, [[1, 2]], max_new_tokens=2)
