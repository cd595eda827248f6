"""Neurons whose rule is known: pattern scoring finds the right rule, and the explainers find rules that are like it."""

from collections import defaultdict

import numpy as np
import pytest

from explanations.planted.neurons import PlantedNeuron, planted_neurons
from neuron_explainer.explanations import (
    Explanation,
    PatternExplainer,
    PatternScorer,
    SimulationScorer,
    TokenExplainer,
    explain,
    score,
)
from neuron_explainer.explanations.scoring.measures import correlation

NOISY = ("noisy",)
KINDS = ("word", "topic", "pattern", "position", "context")


def held_out(neuron: PlantedNeuron, explanation: Explanation) -> float:
    """The correlation that a PatternScorer gives, without its interval; that of what is constant is 0."""
    examples = neuron.subject.by_token.test
    real = np.concatenate([example.activations for example in examples])
    simulated = np.concatenate([explanation.simulate(example.tokens) for example in examples])
    return float(np.nan_to_num(correlation(real, simulated)))


@pytest.fixture(scope="module")
def of_patterns() -> dict[str, list[float]]:
    """The held-out correlations of a PatternExplainer's first explanations, by kind of rule."""
    return _correlations(PatternExplainer())


@pytest.fixture(scope="module")
def of_tokens() -> dict[str, list[float]]:
    return _correlations(TokenExplainer())


def _correlations(explainer: PatternExplainer | TokenExplainer) -> dict[str, list[float]]:
    found = defaultdict(list)
    for neuron in planted_neurons(NOISY):
        found[neuron.kind].append(held_out(neuron, explain(neuron.subject, explainer)[0]))
    return dict(found)


def test_every_neuron_has_five_wrong_rules_which_fire_elsewhere() -> None:
    neurons = planted_neurons(("none",))
    assert {neuron.kind for neuron in neurons} == set(KINDS)
    for neuron in neurons:
        assert len({near.text for near in neuron.near} - {neuron.explanation}) == 5
        tokens = [example.tokens for *_, example in neuron.record.examples()]
        right = [neuron.rule.simulate(each) for each in tokens]
        for near in neuron.near:
            assert [near.simulate(each) for each in tokens] != right, (neuron.explanation, near.text)


def test_the_right_rule_beats_five_near_ones() -> None:
    won = defaultdict(list)
    for neuron in planted_neurons():
        right = held_out(neuron, neuron.right)
        won[neuron.kind].append(all(right > held_out(neuron, near) for near in neuron.near))
    assert set(won) == set(KINDS)
    assert np.mean([each for kind in won.values() for each in kind]) >= 0.95
    assert all(np.mean(kind) >= 0.9 for kind in won.values()), {kind: np.mean(each) for kind, each in won.items()}


def test_the_scorer_gives_the_correlation_with_its_interval_and_measures() -> None:
    neuron = next(each for each in planted_neurons() if each.kind == "context" and each.noise == "noisy")
    found = score(neuron.right, neuron.subject, PatternScorer(), others=neuron.near)
    assert found.value == pytest.approx(held_out(neuron, neuron.right))
    assert found.interval[0] < found.value < found.interval[1]
    assert found.value > found.baselines["another explanation"]
    # Rules simulate 0 and 1, the neuron fires at about 3: only a calibrated simulation explains the variance.
    assert found.measures["explained variance"] == pytest.approx(found.value**2, abs=0.02)
    assert found.measures["uncalibrated explained variance"] < found.measures["explained variance"] - 0.1
    rows = found.judgements
    assert {"text", "position", "token", "simulated", "calibrated", "real"} == set(rows.columns)
    examples = neuron.subject.by_token.test
    assert rows["real"].tolist() == [value for example in examples for value in example.activations]
    assert rows["token"].tolist() == [token for example in examples for token in example.tokens]


def test_the_opposite_of_a_rule_has_a_negative_score() -> None:
    neuron = next(each for each in planted_neurons(("none",)) if "first four" in each.explanation)
    opposite = next(each for each in neuron.near if each.text.startswith("all but"))
    assert score(opposite, neuron.subject, PatternScorer(), baselines=False).value == pytest.approx(-1)
    assert SimulationScorer(calibrate=None).score(opposite, neuron.subject).value == pytest.approx(-1)


def test_patterns_come_near_to_what_the_rule_itself_scores(of_patterns: dict[str, list[float]]) -> None:
    best = defaultdict(list)
    for neuron in planted_neurons(NOISY):
        best[neuron.kind].append(held_out(neuron, neuron.right))
    lost = {kind: float(np.mean(best[kind]) - np.mean(of_patterns[kind])) for kind in KINDS}
    bounds = {"word": 0.03, "topic": 0.10, "pattern": 0.03, "position": 0.04, "context": 0.02}
    assert all(lost[kind] <= bounds[kind] for kind in KINDS), lost


def test_patterns_predict_better_than_tokens_where_tokens_do_not_decide(
    of_patterns: dict[str, list[float]], of_tokens: dict[str, list[float]]
) -> None:
    above = {kind: float(np.mean(of_patterns[kind]) - np.mean(of_tokens[kind])) for kind in KINDS}
    assert above["context"] > 0.1
    assert above["position"] > 0.4
    assert above["pattern"] > 0.05
    assert min(above.values()) > -0.02, above  # and nowhere much worse


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ("the word 'horse'", "' horse'"),
        ("the word 'light' right after 'traffic'", "' traffic' ' light'"),
        ("a digit right after another digit", "[digit] [digit]"),
        ("a capital letter after a full stop", "'.' [capitalised word]"),
        ("the first word of a text", "[begin of text] [any]"),
        ("the first four words of a text", "[one of the first 4 tokens]"),
        ("question marks", "'?'"),
    ],
)
def test_the_strongest_pattern_says_the_rule(rule: str, pattern: str) -> None:
    for neuron in planted_neurons():
        if neuron.explanation == rule and neuron.noise != "unreliable":
            found = explain(neuron.subject, PatternExplainer(), 3)
            table = found[0].details["patterns"]
            assert table["pattern"][0] == pattern
            assert table["activation"][0] == pytest.approx(3, abs=0.0 if neuron.noise == "none" else 0.4)
            assert all(each.text.startswith(f"{pattern} → {table['activation'][0]:.3g}") for each in found)


def test_an_ending_is_told_with_words_that_have_it() -> None:
    neuron = next(each for each in planted_neurons(("none",)) if each.explanation == "words that end with 'ing'")
    table = explain(neuron.subject, PatternExplainer())[0].details["patterns"]
    assert table["pattern"][0].startswith("[word ending in 'ing'] such as ' ")
    assert (table["activation"][0], table["precision"][0]) == (3, 1)
    examples = neuron.subject.by_token
    high = sum(value > 0 for example in (*examples.train, *examples.random) for value in example.activations)
    assert table["support"][0] == high


def test_tokens_are_told_with_what_comes_before_them() -> None:
    neuron = next(each for each in planted_neurons(("none",)) if each.explanation.startswith("the word 'cell'"))
    found = explain(neuron.subject, TokenExplainer())[0]
    assert found.text == "the token ' cell' (more so after ' prison')"
    assert found.details["tokens"]["token"].tolist() == [" cell"]
    assert found.details["before"]["token"].tolist() == [" prison"]
