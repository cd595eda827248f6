"""Baselines: scored beside an explanation, and never at its cost."""

import math
from dataclasses import replace

import pytest

import neuron_explainer as ne
from helpers.explaining import LengthScorer
from neuron_explainer.errors import AnswerFormatError, EndpointError
from neuron_explainer.explanations import Explanation, ExplanationScore, score
from neuron_explainer.explanations.asking.subject import Subject


class _FailsFor(LengthScorer):
    """Scores the length of words, but not of some."""

    def __init__(self, *texts: str, error: Exception) -> None:
        super().__init__()
        self.texts, self.raised = texts, error

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        if explanation.text in self.texts:
            raise self.raised
        return replace(super().score(explanation, subject), note="short")


def test_another_explanation_is_the_mean_of_those_that_can_be_scored():
    record = ne.load_neuron("tiny", 2, 5)
    unreadable = AnswerFormatError("it has no JSON", "JSON", "…")
    found = score("words", record, _FailsFor("two", error=unreadable), others=["one", "two", "three"])
    assert found.value == 0.05
    assert found.baselines["another explanation"] == pytest.approx((0.03 + 0.05) / 2)
    assert found.note.startswith("short; another explanation could not be scored: ")


def test_a_baseline_that_cannot_be_scored_is_nan_and_the_note_says_why():
    record = ne.load_neuron("tiny", 2, 5)
    plain = score("words", record, LengthScorer(), others=["one"])
    assert not any(map(math.isnan, plain.baselines.values()))
    scorer = _FailsFor("one", error=AnswerFormatError("it has no JSON", "JSON", "…"))
    found = score("words", record, scorer, others=["one"])
    assert math.isnan(found.baselines["another explanation"])
    assert found.baselines["most frequent token"] == plain.baselines["most frequent token"]
    assert "it has no JSON" in found.note


def test_an_endpoint_that_is_away_is_an_error_all_the_same():
    scorer = _FailsFor("one", error=EndpointError("http://localhost:1", "it does not answer"))
    with pytest.raises(EndpointError, match="it does not answer"):
        score("words", ne.load_neuron("tiny", 2, 5), scorer, others=["one"])
