"""What an explorer answers is what `ne.attribute` and its answers give; nothing runs twice, a stop keeps the rest."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, PROMPT, TARGET, autoencoders, context
from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.attribution.exploring.explorer import Explored, Explorer
from neuron_explainer.errors import InvalidRequestError, NodeNameError, PromptError, StoppedError, UnknownNameError
from neuron_explainer.models.watching import watched_passes
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

OTHER = (9, 4, 33, 2, 8, 51)
ASKED = Exploration(tuple(PROMPT), ((TARGET,),), ((DISTRACTOR,),), OTHER)
N_LAYERS = 3
N_TOLD = 2 * N_LAYERS  # of a forward and a backward pass


@pytest.fixture
def explorer() -> Explorer:
    return Explorer(context("gpt2"))


def why_of(model: Any, **options: Any) -> ne.Attribution:
    answer: ne.Attribution = ne.attribute(model, PROMPT, [[TARGET]], [[DISTRACTOR]], **options)
    return answer


def passes_of(explorer: Explorer, asked: Exploration) -> tuple[Explored, list[float]]:
    """The answer, and what was told of the passes that it took."""
    told: list[float] = []
    with watched_passes(told.append):
        found = explorer.answer(asked)
    assert told == sorted(told)
    assert not told or (told[0] > 0 and told[-1] == pytest.approx(1, abs=0.2))
    return found, told


def check_same(found: ne.Attribution | None, expected: Any) -> None:
    assert found is not None
    assert found.value == expected.value
    assert found.parts().equals(expected.parts())
    assert found.nodes(30).equals(expected.nodes(30))
    assert found.ablated == expected.ablated
    assert [step.value for step in found.history] == [step.value for step in expected.history]


def test_a_question(explorer: Explorer) -> None:
    assert explorer.held(ASKED) is None
    found, told = passes_of(explorer, ASKED)
    check_same(found.why, why_of(context("gpt2")))
    assert (found.other, found.comparison, found.values) == (None, None, (found.why.value,))
    assert found.asked == ASKED
    assert len(told) == N_TOLD
    again, told = passes_of(explorer, ASKED)
    assert told == []
    assert again.why is found.why
    held = explorer.held(ASKED)
    assert held is not None
    assert held.why is found.why


def test_changes_one_on_top_of_the_other(explorer: Explorer) -> None:
    asked = (
        ASKED.with_change("L1H0").with_change("L1N3@2", 0.5).with_change("L0H1", "mean").with_change("L2H2", "other")
    )
    first = why_of(context("gpt2"))
    second = first.ablate("L1H0")
    third = second.ablate("L1N3@2", value=0.5)
    fourth = third.ablate("L0H1", value="mean")
    last = fourth.ablate("L2H2", value=list(OTHER))
    found, _ = passes_of(explorer, asked)
    check_same(found.why, last)
    assert found.values == tuple(why.value for why in (first, second, third, fourth, last))
    for so_far, expected in ((asked.question, first), (asked.without_change(3), fourth)):
        held = explorer.held(so_far)
        assert held is not None
        check_same(held.why, expected)
    off, told = passes_of(explorer, asked.switched(1).switched(2).switched(3))
    assert told == []
    assert off.values == (first.value, second.value)
    off, told = passes_of(explorer, asked.switched(0).switched(2))
    assert off.values == (
        first.value,
        (alone := first.ablate("L1N3@2", value=0.5)).value,
        alone.ablate("L2H2", value=list(OTHER)).value,
    )


def test_another_second_prompt_runs_again_only_what_depends_on_it(explorer: Explorer) -> None:
    asked = ASKED.with_change("L1H0").with_change("L2H2", "other")
    passes_of(explorer, asked)
    other = Exploration(ASKED.prompt, ASKED.target, ASKED.distractor, tuple(reversed(OTHER)), asked.changes)
    found, told = passes_of(explorer, other)
    expected = why_of(context("gpt2")).ablate("L1H0").ablate("L2H2", value=list(reversed(OTHER)))
    check_same(found.why, expected)
    assert len(told) < 2 * N_TOLD


def test_traces_come_after_the_changes(explorer: Explorer) -> None:
    asked = ASKED.with_change("L1H0").traced("L2H1", "q").traced("L1H2@4", "v", "L2H1@4")
    found, _ = passes_of(explorer, asked)
    less = why_of(context("gpt2")).ablate("L1H0")
    up = less.trace("L2H1", "q")
    check_same(found.why, up.trace("L1H2@4", "v", downstream="L2H1@4"))
    assert found.values == (why_of(context("gpt2")).value, less.value)
    _, told = passes_of(explorer, asked.without_last_trace())
    assert told == []


def test_two_prompts_side_by_side(explorer: Explorer) -> None:
    asked = ASKED.with_change("L1H0").compared()
    found, told = passes_of(explorer, asked)
    assert len(told) == 3 * N_TOLD
    less = why_of(context("gpt2")).ablate("L1H0")
    both = less.compare(list(OTHER))
    check_same(found.why, less)
    check_same(found.other, both.second)
    assert found.comparison is not None
    assert found.comparison.difference == both.difference
    assert found.comparison.nodes(20).equals(both.nodes(20))
    traced, told = passes_of(explorer, asked.traced("L2H1", "k").traced("L1N4"))
    assert len(told) < 4 * N_TOLD
    up = less.trace("L2H1", "k")
    other = both.second.trace(up.inquiry.request["trace"], "k")  # type: ignore[attr-defined]
    second = up.trace("L1N4")
    check_same(traced.why, second)
    check_same(traced.other, other.trace(second.inquiry.request["trace"]))
    assert traced.other is not None
    assert traced.why.inquiry.request["trace"] == traced.other.inquiry.request["trace"]
    assert explorer.held(asked) is not None
    assert explorer.held(asked.compared(False)) is not None


def test_a_trace_of_the_other_prompt_needs_no_answer_that_is_held_no_more() -> None:
    small = Explorer(context("gpt2"), most_bytes=0)
    asked = ASKED.with_change("L1H0").compared().traced("L2H1", "k")
    found = small.answer(asked)
    expected = Explorer(context("gpt2")).answer(asked)
    check_same(found.why, expected.why)
    check_same(found.other, expected.other)
    assert found.values == expected.values
    assert small.held(ASKED) is None


def test_the_last_used_answers_stay() -> None:
    n_bytes = why_of(context("gpt2")).n_bytes
    explorer = Explorer(context("gpt2"), most_bytes=int(2.5 * n_bytes))
    questions = [ASKED, ASKED.swapped(), ASKED.asked(OTHER, ASKED.target)]
    for asked in questions[:2]:
        explorer.answer(asked)
    assert explorer.held(questions[0]) is not None  # and so it is used
    explorer.answer(questions[2])
    assert [explorer.held(asked) is not None for asked in questions] == [True, False, True]


def test_a_stop_keeps_what_was_answered_on_the_way(explorer: Explorer) -> None:
    asked = ASKED.with_change("L1H0").with_change("L2H2").compared()
    stop = threading.Event()

    def progress(fraction: float) -> None:
        if fraction > 0.6:
            stop.set()

    with pytest.raises(StoppedError), watched_passes(progress, stop):
        explorer.answer(asked)
    assert explorer.held(asked) is None
    assert explorer.held(asked.switched(1).compared(False)) is not None
    found, told = passes_of(explorer, asked)
    assert len(told) == 2 * N_TOLD
    check_same(found.why, why_of(context("gpt2")).ablate("L1H0").ablate("L2H2"))


def test_an_error_names_what_is_wrong_and_the_explorer_goes_on(explorer: Explorer) -> None:
    alone = Exploration(ASKED.prompt, ASKED.target, ASKED.distractor)
    for asked, error, message in (
        (alone.compared(), InvalidRequestError, "Give a second prompt|without a second prompt"),
        (alone.with_change("L2H2", "other"), InvalidRequestError, "L2H2 is to have its activation in the other prompt"),
        (ASKED.with_change("H2L2"), NodeNameError, "H2L2"),
        (ASKED.with_change("L9H0"), InvalidRequestError, "9"),
        (ASKED.traced("EMB@3"), InvalidRequestError, "has no activation to trace"),
        (Exploration(ASKED.prompt, metric="nothing", target=ASKED.target), UnknownNameError, "nothing"),
        (Exploration(ASKED.prompt, ASKED.target, other_prompt=OTHER[:3]).compared(), PromptError, "6 and 3 tokens"),
        (Exploration((999,)), PromptError, "999"),
    ):
        with pytest.raises(error, match=message):
            explorer.answer(asked)
        assert explorer.held(asked) is None
    assert explorer.answer(ASKED).why.value == why_of(context("gpt2")).value


def test_threads_ask_at_once(explorer: Explorer) -> None:
    asked = [ASKED, ASKED.with_change("L1H0"), ASKED.with_change("L1H1").traced("L2H1"), ASKED.compared()] * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(explorer.answer, asked))
    alone = Explorer(context("gpt2"))
    for each in found:
        expected = alone.answer(each.asked)
        assert (each.why.value, each.values) == (expected.why.value, expected.values)


def test_autoencoders() -> None:
    latents = autoencoders("gpt2", D.RESID_DELTA_MLP)
    explorer = Explorer(context("gpt2"), latents)
    asked = ASKED.with_change("L1A3").traced("L2A5@5")
    found = explorer.answer(asked)
    check_same(found.why, why_of(context("gpt2"), autoencoders=latents).ablate("L1A3").trace("L2A5@5"))
    configured = Explorer(ne.DstConfig(model_context=context("gpt2"), autoencoder_context=latents))
    assert configured.answer(asked).why.value == found.why.value
