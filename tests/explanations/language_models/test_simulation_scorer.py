"""Scores of simulations: by hand, by OpenAI's definitions, and from planted rules."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from explanations.chat_in_memory import RUBBISH, ScriptedChat, question_of, says, simulates, tokens_in
from explanations.language_models.one_planted import planted
from explanations.planted.neurons import PlantedNeuron
from explanations.planted.rules import word
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.activations.attention_utils import flatten
from neuron_explainer.errors import AnswerFormatError, InvalidRequestError
from neuron_explainer.explanations import Explanation, SimulationScorer, score, scored_explanation
from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.subject import subject_of
from neuron_explainer.explanations.scoring.calibration import LinearCalibration
from neuron_explainer.explanations.scoring.percentile_calibration import PercentileCalibration
from neuron_explainer.explanations.scoring.score import ExplanationScore


class Length:
    """Simulates something that says a little: how long a token is; nothing of the first one."""

    def simulate(self, tokens: Any) -> list[float]:
        return [math.nan, *(float(len(token)) for token in tokens[1:])]


class Constant:
    def simulate(self, tokens: Any) -> list[float]:
        return [2.0] * len(tokens)


def pairs_of(examples: Sequence[ActivationRecord]) -> Any:
    """The real activations, and the lengths that are known."""
    pairs = [
        pair
        for each in examples
        for pair in zip(each.activations, Length().simulate(each.tokens), strict=True)
        if math.isfinite(pair[1])
    ]
    return np.array(pairs).T


def scored(explanation: Explanation | str, neuron: PlantedNeuron, scorer: SimulationScorer) -> ExplanationScore:
    return score(explanation, neuron.record, scorer, baselines=False)


def test_the_rule_itself_has_a_perfect_score_and_others_have_not() -> None:
    neuron = planted()
    found = scored(neuron.right, neuron, SimulationScorer())
    assert (found.measure, found.scorer, found.chance) == ("correlation", "simulation", 0.0)
    assert [found.value, *found.measures.values()][:4] == pytest.approx([1, 1, 1, 1])
    assert found.measures["uncalibrated explained variance"] < 1  # 1 where the neuron has 3
    assert found.interval == pytest.approx((1, 1))
    for near in neuron.near:
        assert not scored(near, neuron, SimulationScorer()).value > 0.95


@pytest.mark.parametrize("noise", ["none", "noisy", "unreliable"])
@pytest.mark.parametrize("calibrate", ["linear", "percentile"])
def test_measures_are_those_that_openai_defines(noise: str, calibrate: Any) -> None:
    neuron = planted("topic", noise)
    explanation = Explanation("length", simulator=Length())
    found = scored(explanation, neuron, SimulationScorer(calibrate=calibrate))
    examples = subject_of(neuron.record).by_token
    true, simulated = pairs_of(examples.calibration)
    real, given = pairs_of(examples.test)
    if calibrate == "linear":
        design = np.stack([simulated, np.ones_like(simulated)], axis=1)
        slope, intercept = np.linalg.lstsq(design, true, rcond=None)[0]
        calibrated = slope * given + intercept
    else:
        order = np.sort(simulated)
        of_value = {value: np.sort(true)[order == value].mean() for value in np.unique(simulated)}
        calibrated = np.interp(given, list(of_value), list(of_value.values()))
    for prefix, values in (("", calibrated), ("uncalibrated ", given)):
        expected = {
            f"{prefix}correlation": np.corrcoef(real, values)[0, 1],
            f"{prefix}explained variance": 1 - np.mean((real - values) ** 2) / np.mean((real - real.mean()) ** 2),
            f"{prefix}explained deviation": 1 - np.mean(np.abs(real - values)) / np.mean(np.abs(real - real.mean())),
        }
        assert {name: found.measures[name] for name in expected} == pytest.approx(expected)
    assert found.value == found.measures["correlation"]
    assert found.note.startswith(f"{len(examples.test)} of ")
    assert "tokens have no prediction" in found.note
    table = found.to_dataframe()
    assert list(table.columns) == ["text", "position", "token", "simulated", "calibrated", "real"]
    assert table["calibrated"].dropna().tolist() == pytest.approx(calibrated.tolist())
    assert found.interval[0] < found.value < found.interval[1]


def test_calibrations_by_hand() -> None:
    assert LinearCalibration.fitted([1, 2, 6], [0, 1, 2]) == LinearCalibration(2.5, 0.5)
    fitted = PercentileCalibration.fitted([0, 0, 6, 3], [math.nan, 1, 5, 1])
    assert fitted.of([1, 3, 5, 9, math.nan]).tolist() == pytest.approx([1.5, 3.75, 6, 6, math.nan], nan_ok=True)
    assert PercentileCalibration.fitted([1], [math.nan]).of([3.0]).tolist() == [0]


def test_without_calibration() -> None:
    neuron = planted(noise="noisy")
    found = scored(neuron.right, neuron, SimulationScorer(calibrate=None))
    assert set(found.measures) == {"correlation", "explained variance", "explained deviation"}
    assert found.to_dataframe()["calibrated"].isna().all()
    assert found.value == pytest.approx(
        scored(neuron.right, neuron, SimulationScorer()).measures["uncalibrated correlation"]
    )


@pytest.mark.parametrize("calibrate", ["linear", "percentile", None])
def test_a_constant_simulation_has_no_correlation(calibrate: Any) -> None:
    neuron = planted()
    found = scored(Explanation("all", simulator=Constant()), neuron, SimulationScorer(calibrate=calibrate))
    assert math.isnan(found.value)
    assert math.isnan(found.interval[0])
    assert found.note == "the simulation is constant, so it has no correlation"
    assert found.measures["explained variance"] <= 0


def test_a_simulation_that_is_the_other_way_round() -> None:
    class Opposite:
        def simulate(self, tokens: Any) -> list[float]:
            return [math.nan, *(-value for value in neuron.rule.simulate(tokens)[1:])]  # one is not predicted

    neuron = planted()
    found = scored(Explanation("not that", simulator=Opposite()), neuron, SimulationScorer())
    assert (found.value, *found.interval) == pytest.approx((-1, -1, -1))
    assert (found.measures["correlation"], found.measures["uncalibrated correlation"]) == pytest.approx((1, -1))
    assert "turns the simulation around" in found.note


def test_a_language_model_that_knows_the_rule() -> None:
    neuron = planted(noise="noisy")
    client = simulates(neuron.rule)
    by_words = scored(neuron.explanation, neuron, SimulationScorer(client))
    by_itself = scored(neuron.right, neuron, SimulationScorer())
    assert by_words.value == pytest.approx(by_itself.value)
    assert by_words.scorer == "simulation by knows the rule"
    assert len(client.asked) == 1
    # The client is asked even if the explanation could simulate
    constant = replace(neuron.right, simulator=Constant())
    assert scored(constant, neuron, SimulationScorer(client)).value == pytest.approx(by_itself.value)


def test_texts_without_an_answer_are_counted() -> None:
    neuron = planted()
    examples = subject_of(neuron.record).by_token.test
    lost = "".join(examples[0].tokens)

    def answer(request: Any) -> str:
        rows = tokens_in(question_of(request))
        text = "".join(token for _, token in rows)
        fires = neuron.rule.simulate([token for _, token in rows])
        levels = [[*row, int(each)] for row, each in zip(rows, fires, strict=True)]
        return RUBBISH if text == lost else json.dumps({"activations": levels})

    found = scored(neuron.explanation, neuron, SimulationScorer(ScriptedChat(answer)))
    n = len(examples[0].tokens)
    assert found.value == pytest.approx(1)
    assert f"{n} of {sum(len(each.tokens) for each in examples):,} tokens have no prediction" in found.note
    assert f"among them all of 1 of {len(examples)} texts" in found.note
    assert len(found.to_dataframe()) == sum(len(each.tokens) for each in examples)


def test_rubbish_alone_is_an_error() -> None:
    neuron = planted()
    with pytest.raises(AnswerFormatError):
        scored(neuron.explanation, neuron, SimulationScorer(says(RUBBISH)))


def test_nothing_is_scored_that_it_was_written_from() -> None:
    neuron = planted()
    examples = subject_of(neuron.record).examples
    seen = frozenset(text_key(each) for each in (*examples.test[:3], *examples.calibration[:2]))
    found = scored(replace(neuron.right, written_from=seen), neuron, SimulationScorer())
    assert found.to_dataframe()["text"].nunique() == len(examples.test) - 3
    for part, words in ((examples.test, "score by"), (examples.calibration, "calibrate with")):
        everything = replace(neuron.right, written_from=frozenset(map(text_key, part)))
        with pytest.raises(InvalidRequestError, match=rf"no texts to {words}: {len(part)} are for that"):
            scored(everything, neuron, SimulationScorer())


def test_a_head_is_scored_by_the_tokens_that_attend() -> None:
    def example(number: int) -> ActivationRecord:
        matrix = np.zeros((3, 3))
        matrix[2, 0] = 5 - number / 100
        return ActivationRecord(["a", f" {number}", " cat"], flatten(matrix))

    record = NeuronRecord(
        NeuronId(layer_index=0, neuron_index=0), most_positive_activation_records=[*map(example, range(16))]
    )
    found = score(Explanation("cats", simulator=word("cat")), record, SimulationScorer(), baselines=False)
    assert found.value == pytest.approx(1, abs=1e-4)
    assert found.to_dataframe()["real"].tolist()[:3] == [0, 0, pytest.approx(4.97)]


def test_words_alone_need_a_client() -> None:
    with pytest.raises(InvalidRequestError, match=r"SimulationScorer\(client\)"):
        scored("words", planted(), SimulationScorer())


def test_a_simulator_that_gives_too_few() -> None:
    class Short:
        def simulate(self, tokens: Any) -> list[float]:
            return [1.0]

    with pytest.raises(InvalidRequestError, match="gives 1 predictions"):
        scored(Explanation("short", simulator=Short()), planted(), SimulationScorer())


@pytest.mark.parametrize(
    ("options", "words"), [({"calibrate": "ridge"}, "linear, percentile"), ({"client": "x"}, "client is 'x'")]
)
def test_odd_arguments(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        SimulationScorer(**options)


def test_a_score_as_files_have_it() -> None:
    neuron = planted("topic", "noisy")
    found = scored(Explanation("length", simulator=Length()), neuron, SimulationScorer())
    result = scored_explanation(found)
    examples = subject_of(neuron.record).by_token.test
    assert (result.explanation, len(result.sequences)) == ("length", len(examples))
    assert result.scores.ev_correlation_score == found.value
    assert result.scores.rsquared_score == found.measures["explained variance"]
    assert result.scores.absolute_dev_explained_score == found.measures["explained deviation"]
    first, table = result.sequences[0], found.to_dataframe()
    simulation, uncalibrated = first.sequence_simulation, first.sequence_simulation.uncalibrated_simulation
    assert simulation.tokens == examples[0].tokens
    assert first.true_activations == examples[0].activations
    assert simulation.expected_activations[0] is None  # no prediction
    assert simulation.expected_activations[1] == table["calibrated"][1]
    assert simulation.activation_scale == "neuron_activations"
    assert uncalibrated is not None
    assert uncalibrated.expected_activations[1] == len(examples[0].tokens[1])
    assert uncalibrated.activation_scale == "simulated_normalized_activations"
    constant = scored(Explanation("all", simulator=Constant()), neuron, SimulationScorer(calibrate=None))
    result = scored_explanation(constant)
    assert result.scores.ev_correlation_score is None
    assert result.sequences[0].sequence_simulation.activation_scale == "simulated_normalized_activations"


def test_a_score_of_judgements_is_no_simulation() -> None:
    with pytest.raises(InvalidRequestError, match="The score by detection is not of a simulation"):
        scored_explanation(ExplanationScore("a", "b", "detection", "AUROC", 0.5))


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 2.0, 1e300])
@pytest.mark.parametrize("own", [1e-300, 1.0, 1e3, 1e300])
def test_a_calibration_is_of_any_unit(unit: float, own: float) -> None:
    calibration = LinearCalibration.fitted(own * np.array([1, 2, 6]), unit * np.array([0, 1, 2]))
    if 1e-300 < own / unit < 1e300:  # else the slope is no number
        assert calibration.of([unit, 2 * unit]) / own == pytest.approx([3, 5.5])
    else:
        assert np.isfinite(calibration.of([unit, 2 * unit])).all()
