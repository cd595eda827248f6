"""What explainers without a language model do with odd records, and what they may look at."""

import math
import time
from typing import Any

import numpy as np
import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.activations.attention_utils import n_pairs
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations import Explanation, PatternExplainer, PatternScorer, TokenExplainer, explain, score
from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.subject import Subject, subject_of
from neuron_explainer.explanations.patterns.token_forms import quoted_token

Explainer = PatternExplainer | TokenExplainer
EXPLAINERS: list[PatternExplainer | TokenExplainer] = [PatternExplainer(), TokenExplainer()]


def record_of(top: list[ActivationRecord], random: list[ActivationRecord] | None = None) -> NeuronRecord:
    return NeuronRecord(NeuronId(0, 0), most_positive_activation_records=top, random_sample=random or [])


def example(tokens: list[str], **values: float) -> ActivationRecord:
    """An example whose activations are given by token, and 0 elsewhere."""
    return ActivationRecord(tokens, [values.get(token.strip(), 0.0) for token in tokens])


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize(
    "texts",
    [
        [(["only"], [1.0])] * 4,
        [([f"word{number}"], [1.0 + number]) for number in range(8)],
        [([f"a{number}", "b"], [1.0, 0.0]) for number in range(5)] + [([], [])] * 3,
        [([f"a{number}", "b", "c"], [2.0] * 3) for number in range(8)],
        [([f"a{number}", "b", "c"], [-3.0, -2.0, 0.5]) for number in range(8)],
        [([f"a{number}", "b"], [1e300, -1e300]) for number in range(8)],
        [([f"a{number}", "b"], [1e-300, 0.0]) for number in range(8)],
        [([f"{number}", *HOSTILE_TOKENS], [0.0] + [float(place) for place in range(len(HOSTILE_TOKENS))])
         for number in range(8)],
        [([f"{number}", "x" * 10**6, "y"], [0.0, 2.0, 0.0]) for number in range(8)],
    ],
    ids=["one token", "one token each", "empty", "constant", "negative", "huge", "tiny", "hostile", "a long token"],
)  # fmt: skip
def test_odd_examples_are_explained(explainer: Explainer, texts: list[tuple[list[str], list[float]]]) -> None:
    record = record_of([ActivationRecord(*text) for text in texts])
    with np.errstate(all="ignore"):
        found = explain(record, explainer, 3)
        assert 1 <= len(found) <= 3
        for each in found:
            assert each.text.isprintable()
            assert len(each.text) <= 10_000
            simulated = each.simulate(["b", *HOSTILE_TOKENS, "x" * 10**6])
            assert len(simulated) == len(HOSTILE_TOKENS) + 2
            assert all(map(math.isfinite, simulated))
            assert each.simulate([]) == []


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("activations", [[0.0, 0.0], [-1.0, -2.0]])
def test_a_component_that_is_never_active_is_refused(explainer: Explainer, activations: list[float]) -> None:
    record = record_of([ActivationRecord([f"a{number}", "b"], activations) for number in range(8)])
    with pytest.raises(InvalidRequestError, match="no examples with an activation above 0"):
        explain(record, explainer)
    for few in ([], [ActivationRecord(["a"], [1.0])]):
        with pytest.raises(InvalidRequestError, match="has too few top examples to explain it by"):
            explain(record_of(few), explainer)


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_texts_of_a_hundred_thousand_tokens_take_bounded_time(explainer: Explainer) -> None:
    tokens = [f" w{number % 977}" for number in range(100_000)]
    values = [float(number % 977 == 5) for number in range(100_000)]
    examples = [ActivationRecord([f"text {number}", *tokens], [0.0, *values]) for number in range(4)]
    start = time.process_time()
    found = explain(record_of(examples), explainer)[0]
    assert time.process_time() - start < 5
    assert "' w5'" in found.text
    start = time.process_time()
    simulated = found.simulate(tokens)
    assert time.process_time() - start < 30
    assert np.argmax(simulated[:977]) == 5


def test_other_parts_of_the_examples_are_not_looked_at() -> None:
    """Explanations do not change with the examples for calibrating, choosing and scoring."""
    top = [example([f"text{number}", " the", " cat", " sat"], cat=3.0) for number in range(12)]
    random = [example([f"other{number}", " the", " dog", " sat"]) for number in range(9)]
    kept = {text_key(each) for each in (*subject_of(record_of(top, random)).examples.train,)}
    changed = [
        each if text_key(each) in kept else example([*each.tokens[:2], " zebra", " sat"], zebra=9.0) for each in top
    ]
    for explainer in EXPLAINERS:
        found = explain(record_of(top, random), explainer)[0]
        again = explain(record_of(changed, random), explainer)[0]
        assert found.text == again.text
        assert found.simulate([" the", " cat", " zebra"]) == again.simulate([" the", " cat", " zebra"])
        assert kept <= found.written_from


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_a_head_is_explained_by_what_attends(explainer: Explainer) -> None:
    def attending(number: int) -> ActivationRecord:
        tokens = [f"text{number}", " the", " cat", " sat"]
        values = [0.0] * n_pairs(4)
        values[4] = 2.0  # the third token to the second
        return ActivationRecord(tokens, values)

    found = explain(record_of([attending(number) for number in range(8)]), explainer)[0]
    assert "' cat'" in found.text
    simulated = found.simulate(["text", " the", " cat", " sat"])
    assert int(np.argmax(simulated)) == 2


def test_a_token_backs_off_to_its_word() -> None:
    top = [example([f"text{number}", " the", " cat", " sat"], cat=3.0) for number in range(8)]
    for explainer in EXPLAINERS:
        known, other_case, unknown = explain(record_of(top), explainer)[0].simulate([" cat", "Cat", " zebra"])
        assert known >= other_case > unknown + 0.5


def test_token_means_are_the_ones_by_hand() -> None:
    top = [ActivationRecord([" a", " b"], [3.0, 0.0]), *(ActivationRecord([f"{n}"], [1.0]) for n in range(3))]
    found = explain(record_of(top), TokenExplainer())[0]
    # The mean of all is 1.5, so that of the word is (3 + 1.5) / 2 and that of the token (3 + 2.25) / 2.
    assert found.simulate([" a", "A", " b", "?"]) == pytest.approx([2.625, 2.25, 0.375, 1.5])


def test_what_it_writes_is_told_where_that_is_known() -> None:
    top = [example([f"text{number}", " cat"], cat=3.0) for number in range(8)]
    subject = subject_of(record_of(top))
    writing = Subject(subject.record, subject.kind, subject.name, lambda n: [" dog", "\n"][:n])
    for explainer in EXPLAINERS:
        assert explain(writing, explainer)[0].text.endswith("; it raises ' dog', '\\n'")
        assert "raises" not in explain(subject, explainer)[0].text


def test_alternatives_and_wildcards_are_learnt() -> None:
    def text(number: int, animal: str, between: str, start: str = " the") -> list[str]:
        return [f"text{number}", start, between, animal, " sat"]

    animals, between = [" cat", " dog", " cow", " hen"], [" old", " big", " red", " sad", " shy"]
    top = [example(text(number, animals[number % 4], between[number % 5]), cat=3, dog=3, cow=3, hen=3)
           for number in range(64)]  # fmt: skip
    random = [example(text(number, animals[number % 4], between[number % 5], " a")) for number in range(100, 150)]
    found = explain(record_of(top, random), PatternExplainer())[0]
    pattern, activation, support, precision = found.details["patterns"].iloc[0]
    assert pattern.startswith("' the' [any] ")
    assert (activation, support, precision) == (3, 16, 1)
    simulated = found.simulate([" the", " new", " cat", " a", " new", " cat"])
    assert simulated[2] > 2 > 1 > simulated[5]


def test_constant_simulations_have_no_score_and_say_so() -> None:
    class Same:
        def simulate(self, tokens: Any) -> list[float]:
            return [1.0] * len(tokens)

    top = [example([f"text{number}", " cat"], cat=3.0) for number in range(8)]
    found = score(Explanation("everything", simulator=Same()), record_of(top), PatternScorer(), baselines=False)
    assert math.isnan(found.value)
    assert "constant" in found.note


def test_words_alone_are_refused_by_the_pattern_scorer() -> None:
    record = ne.load_neuron("tiny", 0, 3)
    with pytest.raises(InvalidRequestError, match="is words alone"):
        score("animals", record, PatternScorer())


@pytest.mark.parametrize("wrong", [0, -1])
def test_numbers_are_checked(wrong: int) -> None:
    with pytest.raises(InvalidRequestError, match="most_patterns"):
        PatternExplainer(wrong)
    with pytest.raises(InvalidRequestError, match="most_tokens"):
        TokenExplainer(wrong)


def test_explanations_are_the_same_each_time() -> None:
    record = ne.load_neuron("tiny", 2, 5)
    for explainer in EXPLAINERS:
        first, second = (explain(record, explainer, 3) for _ in range(2))
        assert [each.text for each in first] == [each.text for each in second]
        tokens = record.random_sample[0].tokens
        assert first[0].simulate(tokens) == second[0].simulate(tokens)


def test_quoted_tokens_are_on_one_line_and_harmless() -> None:
    for token in [*HOSTILE_TOKENS, "x" * 10**5, "'", "\\"]:
        text = quoted_token(token)
        assert len(text) < 80
        assert "\n" not in text
        assert "\r" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_explanations_do_not_depend_on_the_unit(unit: float) -> None:
    def of(unit: float) -> list[float]:
        top = [example([f"w{at}", " cat", f"v{at}", " dog"], cat=unit * (3 + at), dog=unit) for at in range(12)]
        return explain(record_of(top), PatternExplainer())[0].simulate(["a", " cat", " dog", " b"])

    assert [value / unit for value in of(unit)] == pytest.approx(of(1.0))
