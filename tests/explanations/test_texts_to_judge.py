"""The texts that judges tell apart: held out, balanced, and true to the activations."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import neuron_explainer as ne
from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.neuron_ids import NeuronId
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations import Explanation
from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.subject import Subject, subject_of
from neuron_explainer.explanations.scoring.texts import held_out_pieces, interval_by_source, texts_to_judge

FILL = ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def _example(number: int, peak: str | None, height: float, near: str | None = None) -> ActivationRecord:
    """41 tokens, with a peak or a word like it in the middle; no two pieces of them are the same."""
    tokens = [f" {FILL[(number + at) % 8]}{number}x{at}" for at in range(41)]
    activations = [0.0] * 41
    if peak is not None:
        tokens[20], activations[20] = peak, height
    if near is not None:
        tokens[5] = near
    return ActivationRecord(tokens, activations)


def _subject(
    n_top: int = 16, heights: tuple[float, ...] = (4.0,), low: tuple[str | None, ...] = (" cat", None)
) -> Subject:
    top = [_example(number, " Cat", heights[number // 4 % len(heights)]) for number in range(n_top)]
    random = [_example(100 + number, None, 0, low[number % len(low)]) for number in range(30)]
    return subject_of(NeuronRecord(NeuronId(0, 0), random_sample=random, most_positive_activation_records=top))


def test_as_many_are_active_as_are_not_and_half_of_those_are_near_misses() -> None:
    subject = _subject()
    texts = texts_to_judge(subject, n_tokens=9)
    assert [each.kind for each in texts] == ["positive"] * 4 + ["near miss"] * 2 + ["random"] * 2
    assert all(each.activation == (4.0 if each.is_positive else 0.0) for each in texts)
    assert all(len(each.tokens) == len(each.activations) == 9 for each in texts)


def test_the_highest_activation_and_the_shared_token_are_in_the_middle() -> None:
    texts = texts_to_judge(_subject(), n_tokens=9)
    assert all(each.tokens[4] == " Cat" for each in texts if each.is_positive)
    near = [each for each in texts if each.kind == "near miss"]
    assert near
    assert all(each.tokens[4] == " cat" for each in near)
    assert not any("cat" in each.text.casefold() for each in texts if each.kind == "random")


def test_all_texts_are_of_the_test_split() -> None:
    record = ne.load_neuron("tiny", 1, 100)
    subject = subject_of(record)
    sources = {text_key(each) for each in subject.by_token.test}
    others = {text_key(each) for each in (*subject.by_token.train, *subject.examples.random)}
    found = {each.source for each in texts_to_judge(subject)}
    assert found <= sources - others


def test_texts_that_an_explanation_was_written_from_are_left_out() -> None:
    subject = _subject()
    all_sources = {each.source for each in texts_to_judge(subject, n_tokens=9)}
    one = sorted(all_sources)[0]
    explanation = replace(Explanation("cats"), written_from=frozenset({one}))
    assert one not in {each.source for each in texts_to_judge(subject, explanation, n_tokens=9)}


def test_the_draw_is_the_seed_s_alone() -> None:
    subject = subject_of(ne.load_neuron("tiny", 1, 100))
    draws = [texts_to_judge(subject, n_tokens=4, most=6, seed=seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert len(draws[0]) == 6


def test_pieces_in_between_are_left_out() -> None:
    texts = texts_to_judge(_subject(heights=(4.0, 4.0, 0.8)), n_tokens=9)
    assert {each.activation for each in texts} == {4.0, 0.0}


def test_of_a_component_that_is_seldom_low_the_lowest_are_negative() -> None:
    top = [_example(number, " Cat", 4.0) for number in range(16)]
    high = [
        ActivationRecord(each.tokens, [max(1.0 + number / 100, value) for value in each.activations])
        for number, each in enumerate(top)
    ]
    subject = subject_of(NeuronRecord(NeuronId(0, 0), most_positive_activation_records=high))
    texts = texts_to_judge(subject, n_tokens=9)
    low = [each.activation for each in texts if not each.is_positive]
    assert len(low) == 4
    assert max(low) < 1.2


def test_without_texts_to_tell_apart_the_error_says_which_are_missing() -> None:
    top = [ActivationRecord([f"a{number}", f"b{number}"], [4.0, 3.0]) for number in range(8)]
    with pytest.raises(InvalidRequestError, match=r"L0N0 has no held-out texts below 0\.3"):
        texts_to_judge(subject_of(NeuronRecord(NeuronId(0, 0), most_positive_activation_records=top)))
    low = [ActivationRecord([f"a{number}"], [4.0 if number % 4 == 0 else 0.1]) for number in range(8)]
    with pytest.raises(InvalidRequestError, match=r"no held-out texts at or above 0\.3"):
        texts_to_judge(subject_of(NeuronRecord(NeuronId(0, 0), most_positive_activation_records=low)))


def test_huge_and_empty_tokens_are_bounded_and_empty_texts_are_left_out() -> None:
    top = [ActivationRecord(["x" * 10**6 + str(number), "", " "], [4.0 + number, 0, 0]) for number in range(8)]
    random = [
        ActivationRecord(
            ["", " ", "\n"] if number % 3 == 2 else ["y" * 10**6, str(number)], [0.0] * (3 if number % 3 == 2 else 2)
        )
        for number in range(9)
    ]
    other = [ActivationRecord([f"word{number}"], [0.0]) for number in range(9)]
    mixed = [each for pair in zip(random, other, strict=True) for each in pair]
    subject = subject_of(NeuronRecord(NeuronId(0, 0), random_sample=mixed, most_positive_activation_records=top))
    texts = texts_to_judge(subject)
    assert all(each.text.strip() and len(each.text) < 1000 for each in texts)


def test_examples_by_token_pair_are_judged_by_the_strongest_pair_of_each_token() -> None:
    record = ne.load_neuron("tiny", 1, 2, dst="attn_write_norm")
    assert record.is_by_token_pair
    assert all(len(each.activations) == len(each.tokens) for each in texts_to_judge(subject_of(record), n_tokens=8))


def test_pieces_of_one_text_are_drawn_together() -> None:
    subject = _subject()
    texts = texts_to_judge(subject, n_tokens=9)
    sources = [each.source for each in texts]
    drawn: list[list[str]] = []

    def note(numbers: NDArray[np.int64]) -> float:
        drawn.append([sources[number] for number in numbers])
        return 0.0

    interval_by_source(note, texts)
    for own in drawn[:50]:
        assert all(own.count(source) % sources.count(source) == 0 for source in set(own))


def test_no_piece_is_judged_that_stands_in_a_text_for_writing() -> None:
    subject = _subject()
    begin = list(subject.by_token.test[0].tokens[12:28])
    shared = ActivationRecord([*(f"other {place}" for place in range(24)), *begin], [0.0] * 40)  # less than half of it
    record = replace(subject.record, random_sample=[*subject.record.random_sample, shared])
    with_it = subject_of(record)
    assert text_key(shared) in map(text_key, with_it.by_token.random)
    assert "".join(begin) in {each.text for each in held_out_pieces(subject, None, 16)}
    assert "".join(begin) not in {each.text for each in held_out_pieces(with_it, None, 16)}
    n_all = len(held_out_pieces(subject, None, 16))
    assert len(held_out_pieces(with_it, None, 16)) == n_all - 1
