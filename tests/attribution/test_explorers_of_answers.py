"""An explorer begins with any answer: `first` says what was asked, and asked anew it gives the same answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.chats import chat_model, said
from helpers.derived_scalars import DISTRACTOR, PROMPT, TARGET, autoencoders, context
from neuron_explainer.attribution.exploring.exploration import Change, Exploration, TraceStep
from neuron_explainer.attribution.exploring.explorer import Explorer
from neuron_explainer.errors import MisconfiguredError, UnknownNameError
from neuron_explainer.models.watching import watched_passes
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

TEXT = "And the LORD said unto"
OTHER_TEXT = "And the king said unto"


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def spread(logits: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(logits[-1], dim=-1)


def probs(logits: torch.Tensor) -> torch.Tensor:
    return logits[-1, 5]


def why(model: Any, target: Any = " Moses", distractor: Any = " her", **options: Any) -> ne.Attribution:
    answer: ne.Attribution = ne.attribute(model, TEXT, target, distractor, **options)
    return answer


MOSES = Exploration(TEXT, (" Moses",), (" her",))
CASES: dict[str, tuple[Callable[[Any], ne.Attribution], Exploration]] = {
    "target and distractor": (why, MOSES),
    "a target alone": (lambda m: why(m, distractor=None), Exploration(TEXT, (" Moses",))),
    "alternatives": (
        lambda m: why(m, [" Moses", " David"], [" her", " him"]),
        Exploration(TEXT, (" Moses", " David"), (" her", " him")),
    ),
    "several tokens": (
        lambda m: why(m, " Moses, Speak", " the king"),
        Exploration(TEXT, (" Moses, Speak",), (" the king",)),
    ),
    "a metric": (lambda m: why(m, distractor=None, metric="probs"), Exploration(TEXT, (" Moses",), metric="probs")),
    "the default metric": (lambda m: why(m, metric="logit_diff"), MOSES),
    "positions": (lambda m: why(m, positions=[1, -1]), Exploration(TEXT, (" Moses",), (" her",), positions=(1, 5))),
    "the last position": (lambda m: why(m, positions=-1), MOSES),
    "a beginning": (lambda m: why(m, prepend_bos=True), Exploration(TEXT, (" Moses",), (" her",), prepend_bos=True)),
    "ids": (
        lambda m: ne.attribute(m, m.encode(TEXT), m.encode_token_str(" Moses"), [m.encode_token_str(" her")]),
        MOSES,
    ),
    "ids that no text has": (
        lambda m: ne.attribute(m, [52, 72, 69], 95, 370),
        Exploration((52, 72, 69), ((95,),), (" her",)),
    ),
    "a loss": (lambda m: ne.attribute(m, TEXT, metric=ne.LossFnConfig("logit_diff", [" Moses"], [" her"])), MOSES),
    "a function": (lambda m: ne.attribute(m, TEXT, metric=spread), Exploration(TEXT, metric="spread")),
    "a function called as a metric": (
        lambda m: ne.attribute(m, TEXT, metric=probs, positions=4),
        Exploration(TEXT, metric="probs (a function)", positions=(4,)),
    ),
    "changes": (
        lambda m: why(m).ablate("L3H0").ablate("L1N3@2", value=0.5).ablate("L2H1", value="mean"),
        Exploration(
            TEXT, (" Moses",), (" her",), changes=(Change("L3H0"), Change("L1N3@2", 0.5), Change("L2H1", "mean"))
        ),
    ),
    "ablations of the question": (
        lambda m: why(m, ablations=[ne.parse_node("L3H0").to_ablation(), ne.parse_node("L2N1").to_ablation("mean")]),
        MOSES.with_change("L3H0").with_change("L2N1", "mean"),
    ),
    "several at once": (
        lambda m: why(m).ablate("L3H0", "L2MLP", "EMB@3", "L1ATTN@2", "L2H1@4<-1"),
        MOSES.with_change("L3H0")
        .with_change("L2MLP")
        .with_change("EMB@3")
        .with_change("L1ATTN@2")
        .with_change("L2H1@4<-1"),
    ),
    "a trace": (
        lambda m: why(m).ablate("L3H0").trace("L2H3@5<-1", "q"),
        MOSES.with_change("L3H0").traced("L2H3@5<-1", "q"),
    ),
    "two traces": (
        lambda m: why(m).trace("L2H3@5<-1", "q").trace("L1N3@2"),
        MOSES.traced("L2H3@5<-1", "q").traced("L1N3@2"),
    ),
    "a trace through v": (lambda m: why(m).trace("L2H3@5<-1", "v"), MOSES.traced("L2H3@5<-1", "v")),
    "a trace to a node": (
        lambda m: why(m).trace("L1H3@5<-1", "v", downstream="L2N3@5"),
        MOSES.traced("L1H3@5<-1", "v", "L2N3@5"),
    ),
    "a trace of an answer of several tokens": (
        lambda m: why(m, " Moses, Speak", None).trace("L2H3@5<-1", "q"),
        Exploration(TEXT, (" Moses, Speak",)).traced("L2H3@5<-1", "q"),
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_was_asked(tiny: ne.StandardModelContext, case: str) -> None:
    make, first = CASES[case]
    given = make(tiny)
    explorer = Explorer.of(given)
    assert explorer.first == first
    held = explorer.held(first)
    told: list[float] = []
    with watched_passes(told.append):
        found = explorer.answer(first)
    assert found.why is given
    assert (held is not None) is (not told)
    anew = Explorer(tiny)
    anew.functions = explorer.functions
    again = anew.answer(first)
    assert again.why.value == pytest.approx(given.value, abs=1e-6)
    assert again.why.inquiry.title == given.inquiry.title
    assert found.values == pytest.approx(again.values, abs=1e-6)
    assert Explorer.of(again.why).first == first


def test_values_are_known_where_each_change_was_made_alone(tiny: ne.StandardModelContext) -> None:
    for name, is_known in (("changes", True), ("a trace", True), ("several at once", False)):
        explorer = Explorer.of(CASES[name][0](tiny))
        assert explorer.first is not None
        assert (explorer.held(explorer.first) is not None) is is_known, name


def test_the_models_own_choice_goes_on_as_that_choice(tiny: ne.StandardModelContext) -> None:
    given: ne.Attribution = ne.attribute(tiny, TEXT)
    explorer = Explorer.of(given)
    first = explorer.first
    assert first is not None
    choice = [answer.text for answer in given.inquiry.answers]
    assert [*first.target, *first.distractor] == choice
    assert explorer.answer(first.with_change("L3H0")).why.value == given.ablate("L3H0").value


def test_what_no_change_can_say_stays_in_place(tiny: ne.StandardModelContext) -> None:
    values = torch.full((512,), 0.1)
    given = why(tiny).ablate("L1N3").ablate("L2N7", value="mean", reference="Once upon a time").ablate("L3H0")
    explorer = Explorer.of(given)
    assert explorer.first == MOSES.with_change("L3H0")
    assert explorer.setting.notes == given.ablated[:2]
    assert explorer.answer(explorer.first).why is given
    less = explorer.answer(MOSES)
    expected = why(tiny).ablate("L1N3").ablate("L2N7", value="mean", reference="Once upon a time")
    assert (less.why.value, less.why.ablated) == (expected.value, expected.ablated)
    tensor = ne.TensorAblation(ne.ActivationIndex("mlp.post_act", 1, ("All", "All")), values)
    vector = ne.AblationSpec(ne.ActivationIndex("attn.v_out", 1, ("All", 2, "All")), 0.5)
    at_tokens = ne.AblationSpec(ne.ActivationIndex("mlp.post_act", 1, ("All", 5)), 0.0, tokens=(1, 2))
    for ablation in (tensor, vector, at_tokens):
        given = why(tiny, ablations=ablation)
        explorer = Explorer.of(given)
        assert explorer.first == MOSES
        assert explorer.setting.ablations == (ablation,)
        changed = explorer.answer(MOSES.with_change("L3H0"))
        assert changed.why.value == given.ablate("L3H0").value
        assert changed.values == (given.value, changed.why.value)


def test_an_answer_beside_another(tiny: ne.StandardModelContext) -> None:
    second: Any = why(tiny).ablate("L3H0").compare(OTHER_TEXT).second
    explorer = Explorer.of(second)
    assert explorer.first == Exploration(OTHER_TEXT, (" Moses",), (" her",)).with_change("L3H0")
    assert explorer.answer(explorer.first).why is second


def test_chats() -> None:
    model = chat_model()
    messages = said("hello")
    given = ne.attribute(model, messages)
    explorer = Explorer.of(given)
    assert explorer.first is not None
    assert explorer.first.prompt == tuple(messages)
    assert Explorer(model).answer(explorer.first).why.value == pytest.approx(given.value)
    as_text = ne.attribute(model, model.chat_text(messages))
    explorer = Explorer.of(as_text)
    assert explorer.first is not None
    assert Explorer(model).answer(explorer.first).why.value == pytest.approx(given.value)


def test_a_model_without_a_tokenizer() -> None:
    model = ne.StandardModelContext("numbers", context("gpt2").get_or_create_model())
    explorer = Explorer.of(ne.attribute(model, PROMPT, TARGET, DISTRACTOR))
    assert explorer.first == Exploration(tuple(PROMPT), ((TARGET,),), ((DISTRACTOR,),))


@pytest.mark.filterwarnings("ignore::neuron_explainer.notices.UnchangedByInterventionWarning")  # L1A3 is silent at @2
def test_latents_of_autoencoders() -> None:
    latents = [autoencoders("gpt2", dst) for dst in (D.RESID_DELTA_MLP, D.RESID_DELTA_ATTN)]
    given = ne.attribute(context("gpt2"), PROMPT, [[TARGET]], autoencoders=latents)
    given = given.ablate("L1A3/mlp@2").ablate("L1A4/attn", value="mean").trace("L1A5/mlp@5")
    explorer = Explorer.of(given)
    assert explorer.first is not None
    assert explorer.first.changes == (Change("L1A3/mlp@2"), Change("L1A4/attn", "mean"))
    assert explorer.first.traces == (TraceStep("L1A5/mlp@5"),)
    again = Explorer(context("gpt2"), latents).answer(explorer.first)
    assert again.why.value == pytest.approx(given.value)
    assert explorer.answer(explorer.first.question).why.effects[0].latents  # of all layers, not those below the trace


def test_answers_that_were_read_from_files(tiny: ne.StandardModelContext, tmp_path: Path) -> None:
    path = tmp_path / "why.safetensors"
    for name in ("changes", "a trace", "ids that no text has"):
        make, first = CASES[name]
        given = make(tiny)
        given.save(path)
        with pytest.raises(MisconfiguredError):
            Explorer.of(ne.load_attribution(path))
        read = ne.load_attribution(path, tiny)
        explorer = Explorer.of(read)
        kept = len(first.changes) - len(explorer.first.changes if explorer.first else ())
        assert explorer.first == Exploration.from_json(
            {**first.to_json(), "changes": first.to_json()["changes"][kept:]}
        )
        assert explorer.answer(explorer.first).why is read
        assert explorer.answer(explorer.first.question).why.value == pytest.approx(
            given.history[kept].value if given.history else given.value, abs=1e-6
        )
    ne.attribute(tiny, TEXT, metric=spread).save(path)
    explorer = Explorer.of(ne.load_attribution(path, tiny))
    assert explorer.first == Exploration(TEXT, metric="spread")
    with pytest.raises(UnknownNameError, match="spread"):
        explorer.answer(Exploration("Once upon a time", metric="spread"))
