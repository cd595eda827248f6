"""Baselines beside a score: they are of other explanations, and take nothing from the score where they fail."""

import math
from dataclasses import replace

import pytest

import neuron_explainer as ne
from helpers.explaining import LengthScorer
from neuron_explainer.errors import AnswerFormatError, EndpointError, InvalidRequestError
from neuron_explainer.explanations import Explanation, PatternScorer, explain, score
from neuron_explainer.explanations.asking.subject import subject_of
from neuron_explainer.explanations.scoring.baselines import ANOTHER, MOST_FREQUENT, most_frequent_token


@pytest.fixture(scope="module")
def record() -> ne.NeuronRecord:
    return ne.load_neuron("tiny", 2, 5)


class _ReadsOne(LengthScorer):
    """Scores one explanation; of the others it cannot read the answers."""

    def score(self, explanation, subject):
        if explanation.text != "mine":
            raise self.error("no JSON", "JSON", "I \x1b[31mwould rather not.")
        return super().score(explanation, subject)


def test_a_baseline_that_cannot_be_scored_is_said_and_the_score_stays(record):
    found = score("mine", record, _ReadsOne(error=AnswerFormatError), others=["another", "a third"])
    assert found.value == pytest.approx(0.04)
    assert set(found.baselines) == {MOST_FREQUENT, ANOTHER}
    assert all(map(math.isnan, found.baselines.values()))
    assert found.note.count("could not be scored") == 2
    assert "\x1b" not in repr(found)


def test_another_explanation_is_the_mean_of_those_that_can_be_scored(record):
    class FailsForTwo(LengthScorer):
        def score(self, explanation, subject):
            if explanation.text == "two":
                raise AnswerFormatError("it has no JSON", "JSON", "…")
            return replace(super().score(explanation, subject), note="short")

    found = score("words", record, FailsForTwo(), others=["one", "two", "three"])
    assert found.baselines[ANOTHER] == pytest.approx((0.03 + 0.05) / 2)
    assert found.note.startswith("short; the baseline 'another explanation' could not be scored: ")


def test_what_is_wrong_with_all_questions_is_an_error(record):
    class Broken(_ReadsOne):
        error = EndpointError

    with pytest.raises(EndpointError):
        score("mine", record, Broken(error=EndpointError))


def test_another_explanation_is_not_the_same_one(record):
    found = score("mine", record, LengthScorer(), others=["mine", Explanation("mine"), "much longer"])
    assert found.baselines[ANOTHER] == pytest.approx(0.11)
    assert ANOTHER not in score("mine", record, LengthScorer(), others=["mine"]).baselines


def test_a_token_without_end_is_a_baseline_all_the_same():
    token = "q" * 20_000
    top = [ne.ActivationRecord([f"a{number}", " b", token], [0.0, 0.1, 5.0]) for number in range(8)]
    record = ne.NeuronRecord(ne.NeuronId(0, 0), most_positive_activation_records=top)
    assert len(most_frequent_token(subject_of(record)).text) < 300
    assert score(explain(record)[0], record).value > 0.9


def test_a_simulator_that_gives_another_number_of_predictions_is_told(record):
    calibration = [each.tokens for each in subject_of(record).by_token.calibration]

    class Simulator:
        def simulate(self, tokens):
            return [1.0] * (len(tokens) + (list(tokens) in calibration))

    with pytest.raises(InvalidRequestError, match="It must give one for each"):
        score(Explanation("x", simulator=Simulator()), record, PatternScorer(), baselines=False)
