"""Scores by surprisal: log-likelihoods in batches, one by one and by hand; prompts that are too long."""

import math
import threading

import pytest
import torch

import neuron_explainer as ne
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError, StoppedError
from neuron_explainer.explanations import SurprisalScorer, score
from neuron_explainer.explanations.scoring.likelihoods import log_likelihoods
from neuron_explainer.explanations.scoring.measures import auroc
from neuron_explainer.explanations.scoring.surprisal_scorer import PROMPT, PROMPT_WITHOUT
from neuron_explainer.models.watching import watched_passes

TEXTS = ["In the beginning", " the LORD", "", "a", " yellow flowers; faintly aromatic of pine resin", "x" * 60]


@pytest.fixture(scope="module")
def tiny() -> ne.ModelContext:
    return ne.load_model("tiny", device="cpu")


@pytest.fixture
def record() -> NeuronRecord:
    return ne.load_neuron("tiny", 1, 100)


def by_hand(model: ne.ModelContext, prompt: list[int], text: list[int]) -> float:
    """The sum over the text's tokens, from logits of a pass over prompt and text alone."""
    logits = model.get_or_create_model()(torch.tensor([prompt + text]))[0].double()
    places = range(len(prompt) - 1, len(prompt) + len(text) - 1)
    return sum(
        float(logits[place, token] - logits[place].logsumexp(-1)) for place, token in zip(places, text, strict=True)
    )


def test_log_likelihoods_are_those_of_passes_one_by_one(tiny: ne.ModelContext) -> None:
    prompt, texts = tiny.encode("And it came to pass:"), [tiny.encode(text) for text in TEXTS]
    together = log_likelihoods(tiny.get_or_create_model(), prompt, texts)
    alone = [log_likelihoods(tiny.get_or_create_model(), prompt, [text])[0] for text in texts]
    hand = [by_hand(tiny, prompt, text) if text else 0.0 for text in texts]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == pytest.approx(hand, abs=1e-4)
    assert together[2] == 0


def test_no_text_sees_another(tiny: ne.ModelContext) -> None:
    prompt, text = tiny.encode("And it came to pass:"), tiny.encode(" the LORD said unto Moses")
    transformer = tiny.get_or_create_model()
    found = [log_likelihoods(transformer, prompt, [text, tiny.encode(other)])[0] for other in TEXTS if other]
    assert found == pytest.approx([found[0]] * len(found), abs=1e-5)


def test_logits_that_would_take_too_much_memory_are_made_in_parts(
    tiny: ne.ModelContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuron_explainer.explanations.scoring import likelihoods

    prompt, texts = tiny.encode("And"), [tiny.encode(text) for text in TEXTS]
    whole = log_likelihoods(tiny.get_or_create_model(), prompt, texts)
    monkeypatch.setattr(likelihoods, "_MOST_LOGITS", 1)
    assert log_likelihoods(tiny.get_or_create_model(), prompt, texts) == pytest.approx(whole, abs=1e-5)


def test_the_gain_is_by_token_and_over_the_prompt_without_an_explanation(
    tiny: ne.ModelContext, record: NeuronRecord
) -> None:
    found = score("yellow flowers", record, SurprisalScorer(tiny), baselines=False)
    prompts = [tiny.encode(text) for text in (PROMPT.format("yellow flowers"), PROMPT_WITHOUT)]
    for _, row in found.judgements.iterrows():
        text = tiny.encode(row["text"])
        with_it, without = (by_hand(tiny, prompt, text) for prompt in prompts)
        assert (row["log_likelihood"], row["without_explanation"]) == pytest.approx((with_it, without), abs=1e-3)
        assert row["gain"] == pytest.approx((with_it - without) / len(text), abs=1e-4)
    assert found.value == pytest.approx(auroc(found.judgements["kind"] == "positive", found.judgements["gain"]))
    assert (found.chance, found.scorer) == (0.5, "surprisal by tiny")


def test_an_explanation_gains_nothing_over_itself(tiny: ne.ModelContext, record: NeuronRecord) -> None:
    scorer = SurprisalScorer(tiny, against="yellow flowers")
    found = score("yellow flowers", record, scorer, baselines=False)
    assert found.judgements["gain"].abs().max() < 1e-6
    assert score("the Bible", record, scorer, baselines=False).judgements["gain"].abs().max() > 1e-3


def test_the_same_is_found_again(tiny: ne.ModelContext, record: NeuronRecord) -> None:
    scorer = SurprisalScorer(tiny)
    first, again = (score("yellow flowers", record, scorer).judgements for _ in range(2))
    assert first.equals(again)
    assert first.equals(score("yellow flowers", record, SurprisalScorer(tiny)).judgements)


def test_what_is_kept_is_not_used_for_a_model_that_changed(record: NeuronRecord) -> None:
    model = ne.load_model("tiny", device="cpu")
    scorer = SurprisalScorer(model)
    before = score("yellow flowers", record, scorer, baselines=False).judgements
    with model.intervene("mlp_post_act", 1, torch.zeros_like):
        within = score("yellow flowers", record, scorer, baselines=False).judgements
        assert within.equals(score("yellow flowers", record, SurprisalScorer(model), baselines=False).judgements)
    assert not within["without_explanation"].equals(before["without_explanation"])
    assert score("yellow flowers", record, scorer, baselines=False).judgements.equals(before)
    with torch.no_grad():
        model.get_or_create_model().embedding.mul_(0.5)
    changed = score("yellow flowers", record, scorer, baselines=False).judgements
    assert changed.equals(score("yellow flowers", record, SurprisalScorer(model), baselines=False).judgements)
    assert not changed["without_explanation"].equals(before["without_explanation"])


def test_long_explanations_and_texts_are_cut_to_the_context(tiny: ne.ModelContext, record: NeuronRecord) -> None:
    found = score("yellow " * 1000, record, SurprisalScorer(tiny, n_tokens=256), baselines=False)
    assert "of the explanation, the model read" in found.note
    assert found.judgements["tokens"].max() <= tiny.max_context_length // 2
    assert found.judgements["gain"].map(math.isfinite).all()


def test_a_likelihood_that_is_not_finite_is_an_error(record: NeuronRecord) -> None:
    model = ne.load_model("tiny", device="cpu")
    nan = model.intervene("logits", None, lambda logits: logits * torch.nan)
    with nan, pytest.raises(InvalidRequestError, match="not finite"):
        score("yellow flowers", record, SurprisalScorer(model))


def test_the_work_can_be_stopped_and_tells_how_far_it_is(tiny: ne.ModelContext, record: NeuronRecord) -> None:
    stop, told = threading.Event(), []
    with watched_passes(told.append):
        score("yellow flowers", record, SurprisalScorer(tiny), baselines=False)
    assert max(told) == 1.0
    stop.set()
    with watched_passes(stop=stop), pytest.raises(StoppedError):
        score("yellow flowers", record, SurprisalScorer(tiny))


@pytest.mark.parametrize("setting", [{"n_tokens": 0}, {"n_texts": 1}, {"against": 3}, {"against": ""}])
def test_settings_that_do_not_do_are_refused(tiny: ne.ModelContext, setting: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        SurprisalScorer(tiny, **setting)
