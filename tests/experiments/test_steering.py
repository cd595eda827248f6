"""Steering against by-hand interventions, in every family; with the cache and without; sweeps against single runs."""

import itertools
import threading
from collections.abc import Callable

import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, small_context
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, PromptError
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.notices import UnchangedByInterventionWarning

PROMPT = [5, 17, 3, 8, 30, 2]
LAYERS = (0, 2)
POSITIONS = (None, "generated", (2, 7), (-1,))
SOME = ("gpt2", "gemma3", "mixtral")


def vectors(context: ne.ModelContext) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {layer: torch.randn(context.d_model, generator=generator) for layer in LAYERS}


def by_hand(
    mode: str, vector: torch.Tensor, strength: float, positions: list[int] | None = None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The change, token by token and number by number."""

    def change(resid: torch.Tensor) -> torch.Tensor:
        new = resid.clone()
        for row in range(resid.shape[0]):
            for token in range(resid.shape[1]) if positions is None else positions:
                along = vector / vector.square().sum().sqrt()
                coefficient = (resid[row, token] * along).sum()
                if mode == "add":
                    new[row, token] = resid[row, token] + strength * vector
                elif mode == "project_out":
                    new[row, token] = resid[row, token] - strength * coefficient * along
                else:
                    new[row, token] = resid[row, token] + (strength - coefficient) * along
        return new

    return change


def logits_by_hand(
    context: ne.StandardModelContext, mode: str, strength: float, positions: list[int] | None = None
) -> torch.Tensor:
    transformer, directions = context.get_or_create_model(), vectors(context)
    with (
        transformer.intervene("resid_post_mlp", 0, by_hand(mode, directions[0], strength, positions)),
        transformer.intervene("resid_post_mlp", 2, by_hand(mode, directions[2], strength, positions)),
    ):
        logits = transformer(torch.tensor([PROMPT]))
    assert logits is not None
    return logits[0]


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_it_is_what_interventions_by_hand_give(name: str) -> None:
    context = small_context(name)
    plain = context.get_or_create_model()(torch.tensor([PROMPT]))
    assert plain is not None
    for mode, strengths in (("add", [-2.0]), ("project_out", [1.0]), ("clamp", [3.0, 0.0])):
        logits = ne.steer(context, vectors(context), mode=mode).logits(PROMPT, strengths=strengths)  # type: ignore[arg-type]
        torch.testing.assert_close(logits[0], plain[0], rtol=1e-4, atol=1e-4)
        for row, strength in enumerate(strengths, 1):
            torch.testing.assert_close(
                logits[row], logits_by_hand(context, mode, strength), rtol=1e-3, atol=2e-3, msg=f"{mode} {strength}"
            )
            assert not torch.allclose(logits[row], plain[0], atol=1e-2)


def test_nothing_is_left_along_a_direction_that_is_projected_out_and_clamped_ones_have_their_strength() -> None:
    context = small_context("gpt2")
    vector = vectors(context)[0]
    along = vector / vector.norm()
    transformer = context.get_or_create_model()
    for mode, strength, left in (("project_out", 1.0, 0.0), ("clamp", 7.0, 7.0)):
        steering = ne.steer(context, vector, layers=1, mode=mode, strength=strength)  # type: ignore[arg-type]
        with transformer.record([("resid_post_mlp", 1)]) as recording, steering.applied() as intervention:
            # Interventions come before recordings, so the recording sees the steered stream.
            transformer(torch.tensor([PROMPT]))
        found = recording["resid_post_mlp", 1][0] @ along
        torch.testing.assert_close(found, torch.full_like(found, left), rtol=1e-4, atol=1e-4)
        assert intervention.changed is True


@pytest.mark.parametrize("name", SOME)
def test_given_positions_count_from_both_ends_of_the_prompt(name: str) -> None:
    context = small_context(name)
    logits = ne.steer(context, vectors(context), positions=[1, -1]).logits(PROMPT, strengths=2)
    torch.testing.assert_close(logits[1], logits_by_hand(context, "add", 2.0, [1, 5]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(logits[1][0], logits[0][0])
    with pytest.raises(IndexOutOfRangeError, match="Position 6 is to be steered"):
        ne.steer(context, vectors(context), positions=6).logits(PROMPT)


@pytest.mark.parametrize(
    ("name", "positions"),
    list(zip(SMALL_CONFIGS, itertools.cycle(POSITIONS), strict=False)),
)
def test_generation_with_the_cache_is_generation_without(name: str, positions: str | tuple[int, ...] | None) -> None:
    context = small_context(name, dtype=torch.float64)
    steering = ne.steer(context, vectors(context), positions=positions, strength=1.5)  # type: ignore[arg-type]
    transformer = context.get_or_create_model()
    with steering.applied(n_prompt=len(PROMPT)):
        cached, whole = (
            generate(transformer, [PROMPT], max_new_tokens=4, stop_tokens=[1], use_cache=use_cache)[0]
            for use_cache in (True, False)
        )
    assert cached == whole
    answers = steering.generate(PROMPT, max_new_tokens=4)
    assert list(answers.rows[1].token_ids) == cached
    assert list(answers.without.token_ids) == generate(transformer, [PROMPT], max_new_tokens=4, stop_tokens=[1])[0]
    # Each token is the likeliest after all before it, by hand over the whole text.
    text = [*PROMPT, *cached]
    here = list(range(len(text)))
    if isinstance(positions, tuple):
        steered = [position + len(PROMPT) if position < 0 else position for position in positions]
        here = [position for position in steered if position < len(text)]
    elif positions == "generated":
        here = here[len(PROMPT) :]
    contexts = [by_hand("add", vectors(context)[layer].double(), 1.5, here) for layer in LAYERS]
    with (
        transformer.intervene("resid_post_mlp", 0, contexts[0]),
        transformer.intervene("resid_post_mlp", 2, contexts[1]),
    ):
        logits = transformer(torch.tensor([text]))
    assert logits is not None
    assert logits[0, 5:-1].argmax(-1).tolist() == cached


@pytest.mark.parametrize("name", SOME)
def test_a_sweep_is_its_single_runs(name: str) -> None:
    context = small_context(name)
    steering = ne.steer(context, vectors(context), mode="clamp", strength=1)
    strengths = [-3.0, 0.0, 2.0]
    swept = steering.generate(PROMPT, max_new_tokens=6, strengths=strengths, text=[4, 9])
    sampling = ne.Sampling(temperature=1.0, seed=3)
    sampled = steering.generate(PROMPT, max_new_tokens=6, strengths=strengths, sampling=sampling)
    table = swept.to_dataframe()
    assert table["strength"].tolist()[1:] == strengths
    for row, strength in enumerate(strengths, 1):
        alone = steering.generate(PROMPT, max_new_tokens=6, strengths=strength, text=[4, 9])
        assert alone.rows[1].token_ids == swept.rows[row].token_ids
        assert alone.rows[0].token_ids == swept.rows[0].token_ids
        assert alone.to_dataframe()["change"][1] == pytest.approx(table["change"][row], abs=1e-4)
        one = steering.generate(PROMPT, max_new_tokens=6, strengths=strength, sampling=sampling)
        assert one.rows[1].token_ids == sampled.rows[row].token_ids
    assert context.generate(PROMPT, max_new_tokens=6) == swept.without.answer
    assert context.generate(PROMPT, max_new_tokens=6, sampling=sampling) == sampled.without.answer


@pytest.mark.parametrize("name", SOME)
def test_log_probabilities_by_hand(name: str) -> None:
    context = small_context(name)
    steering = ne.steer(context, vectors(context), positions="generated")
    table = steering.log_probability(PROMPT[:4], PROMPT[4:], strengths=[0.5, 4.0])
    transformer = context.get_or_create_model()
    for row, strength in enumerate([0.0, 0.5, 4.0]):
        logits = transformer(torch.tensor([PROMPT]))
        if strength:
            logits = logits_by_hand(context, "add", strength, [4, 5])[None]
        assert logits is not None
        probabilities = logits[0].double().softmax(-1)
        expected = float((probabilities[3, PROMPT[4]] * probabilities[4, PROMPT[5]]).log())
        assert table["log_probability"][row] == pytest.approx(expected, abs=1e-3)
    assert table["change"].tolist() == [0, *(table["log_probability"][1:] - table["log_probability"][0])]
    assert table["n_tokens"].tolist() == [2, 2, 2]
    words = " ".join(f"t{number}" for number in PROMPT[4:])
    assert steering.log_probability("t5 t17 t3 t8", words)["log_probability"][0] == table["log_probability"][0]


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_oss", "phi3"])
def test_frozen_attention_keeps_the_patterns_of_the_run_without(name: str) -> None:
    context = small_context(name)
    vector = vectors(context)[0]
    transformer = context.get_or_create_model()
    steering = ne.steer(context, vector, layers=0, strength=3, freeze_attention=True)
    with transformer.record(["attn_qk_probs"]) as plain:
        transformer(torch.tensor([PROMPT]))
    with transformer.record(["attn_qk_probs"]) as free:
        ne.steer(context, vector, layers=0, strength=3).logits(PROMPT)
    with transformer.record(["resid_post_mlp"]):
        found = steering.logits(PROMPT)
    patterns = {layer: plain["attn_qk_probs", layer] for layer in (1, 2)}
    assert not torch.allclose(free["attn_qk_probs", 1][1], patterns[1][0], atol=1e-3)
    with (
        transformer.intervene("resid_post_mlp", 0, by_hand("add", vector, 3.0)),
        transformer.intervene("attn_qk_probs", 1, lambda tensor: patterns[1].clone()),
        transformer.intervene("attn_qk_probs", 2, lambda tensor: patterns[2].clone()),
    ):
        expected = transformer(torch.tensor([PROMPT]))
    assert expected is not None
    torch.testing.assert_close(found[1], expected[0], rtol=1e-3, atol=1e-3)
    with pytest.raises(InvalidRequestError, match="freeze_attention is set, and generate cannot"):
        steering.generate(PROMPT)
    with pytest.raises(InvalidRequestError, match="applied cannot"), steering.applied():
        pass


def test_each_thread_is_steered_by_its_own_contexts() -> None:
    context = small_context("llama")
    transformer = context.get_or_create_model()
    steering = ne.steer(context, vectors(context))
    expected = {strength: steering.logits(PROMPT, strengths=strength)[1] for strength in (1.0, 2.0, -3.0)}
    start = threading.Barrier(4)
    found: dict[float | None, torch.Tensor] = {}

    def read(strength: float | None) -> None:
        start.wait()
        for _ in range(5):
            if strength is None:
                found[strength] = transformer(torch.tensor([PROMPT]))[0]
            else:
                with steering.applied(strength=strength):
                    found[strength] = transformer(torch.tensor([PROMPT]))[0]

    threads = [threading.Thread(target=read, args=(strength,)) for strength in (None, *expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(found[None], transformer(torch.tensor([PROMPT]))[0])
    for strength, logits in expected.items():
        torch.testing.assert_close(found[strength], logits, rtol=1e-3, atol=1e-3)


def test_bfloat16_is_rounded_once() -> None:
    context = small_context("llama", dtype=torch.bfloat16)
    vector = vectors(context)[0]
    transformer = context.get_or_create_model()
    with transformer.record([("resid_post_mlp", 1)]) as plain:
        transformer(torch.tensor([PROMPT]))
    with ne.steer(context, vector, layers=1).applied(strength=0.7), transformer.record([("resid_post_mlp", 1)]) as own:
        transformer(torch.tensor([PROMPT]))
    before = plain["resid_post_mlp", 1]
    assert torch.equal(own["resid_post_mlp", 1], (before.float() + 0.7 * vector).bfloat16())


def test_a_strength_that_changes_nothing_is_told_unless_it_is_0() -> None:
    context = small_context("gpt2", dtype=torch.bfloat16)
    steering = ne.steer(context, vectors(context))
    with (
        pytest.warns(UnchangedByInterventionWarning, match="changed no number"),
        steering.applied(strength=1e-30) as intervention,
    ):
        context.generate(PROMPT, max_new_tokens=1)
    assert intervention.changed is False
    with steering.applied(strength=0):
        context.generate(PROMPT, max_new_tokens=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "substract"}, "Choose one of: add, project_out, clamp"),
        ({"positions": "after"}, "positions is 'after'"),
        ({"positions": []}, "Give at least one whole number"),
        ({"positions": [1.5]}, "Give at least one whole number"),
        ({"strength": "strong"}, "strength is 'strong'"),
        ({"layers": 3}, "layer"),
        ({"direction": torch.zeros(32)}, "points nowhere"),
        ({"freeze_attention": 2}, "freeze_attention"),
    ],
)
def test_what_it_refuses(arguments: dict, message: str) -> None:
    context = small_context("gpt2")
    given = {"direction": torch.ones(32), **arguments}
    with pytest.raises(InvalidRequestError, match=message):
        ne.steer(context, given.pop("direction"), **given)


def test_what_its_calls_refuse() -> None:
    context = small_context("gpt2")
    with pytest.raises(InvalidRequestError, match="Give one"):
        ne.steer(context, torch.ones(32), mode="clamp").logits(PROMPT)
    steering = ne.steer(context, torch.ones(32), positions="generated")
    with pytest.raises(InvalidRequestError, match="Give n_prompt="), steering.applied():
        pass
    for strengths in ([], ["a"], [float("nan")], "12"):
        with pytest.raises(InvalidRequestError, match="Give a finite number"):
            steering.generate(PROMPT, strengths=strengths)  # type: ignore[arg-type]
    with pytest.raises(PromptError):
        steering.log_probability([2] * 60, [3] * 10)
    with pytest.raises(InvalidRequestError):
        steering.log_probability(PROMPT, [99])


@pytest.mark.parametrize("sampling", [None, ne.Sampling(temperature=1.0)])
def test_strengths_beyond_the_models_numbers_are_told(sampling: ne.Sampling | None) -> None:
    """The largest of logits that are NaN would be token 0."""
    context = small_context("gpt2", dtype=torch.float16)
    steering = ne.steer(context, torch.randn(32, generator=torch.Generator().manual_seed(0)), layers=1)
    with pytest.raises(InvalidRequestError, match=r"logits are NaN.*torch\.float16"):
        steering.generate(PROMPT, max_new_tokens=2, strengths=[1, 1e6], sampling=sampling)
    steering.generate(PROMPT, max_new_tokens=2, strengths=[1, 2], sampling=sampling)
