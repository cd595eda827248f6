"""What is explained, and which examples an explanation is written from and scored by."""

from typing import Any, cast

import pytest

import neuron_explainer as ne
from neuron_explainer.activations.attention_utils import pairs
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations import Explanation, Explanations
from neuron_explainer.explanations.asking.examples import HeldOutExamples, by_token, text_key
from neuron_explainer.explanations.asking.overlaps import SeenTexts
from neuron_explainer.explanations.asking.subject import subject_of
from neuron_explainer.explanations.scoring.baselines import OneToken, most_frequent_token


def example(text: str, peak: float) -> ne.ActivationRecord:
    tokens = text.split()
    return ne.ActivationRecord(tokens, [0.0] * (len(tokens) - 1) + [peak])


def test_no_text_is_in_two_parts() -> None:
    top = [example(f"a b t{number % 9}", 9.0 - number) for number in range(16)]  # some texts come twice
    random = [example(f"a b t{number}", 0.5) for number in range(4, 16)]
    parts = HeldOutExamples.of(ne.NeuronRecord(ne.NeuronId(0, 0), random, most_positive_activation_records=top))
    keys = [text_key(each) for part in (parts.train, parts.calibration, parts.valid, parts.test) for each in part]
    assert len(keys) == len(set(keys))
    assert parts.train
    assert parts.test
    seen = {text_key(each) for each in (*parts.train, *parts.test)}
    assert parts.random
    assert not seen & {text_key(each) for each in parts.random}


def test_tokens_are_told_apart_and_not_only_their_text() -> None:
    assert text_key(example("ab c", 1)) != text_key(example("a bc", 1))
    assert text_key(ne.ActivationRecord(["1:a"], [0.0])) != text_key(ne.ActivationRecord(["1:", "a"], [0.0, 0.0]))


def test_records_components_and_viewers_are_explained() -> None:
    component = ne.component("tiny", "L2N5")
    subject = subject_of(component)
    assert (subject.name, subject.kind) == ("L2N5", NodeKind.NEURON)
    assert subject.writes is not None
    assert subject.writes(3) == component.writes(3)["token"][:3].tolist()
    of_record = subject_of(component.record)
    assert (of_record.name, of_record.kind, of_record.writes) == ("L2N5", NodeKind.NEURON, None)
    viewer = ne.NeuronViewer("tiny", layer=2, neuron=5)
    viewer.wait()
    assert subject_of(viewer).record == component.record
    viewer.close()
    head = subject_of(ne.component("tiny", "L2H1"))
    assert head.kind is NodeKind.HEAD
    assert head.highest == max(each.max_activation or 0 for each in head.by_token.train)


def test_pairs_become_the_strongest_of_each_token() -> None:
    of_pairs = ne.load_neuron("tiny", 2, 1, "attn_write_norm").most_positive_activation_records[0]
    tokens = by_token(of_pairs)
    queries, _ = pairs(len(of_pairs.tokens))
    for position, value in enumerate(tokens.activations):
        own = [each for query, each in zip(queries, of_pairs.activations, strict=False) if query == position]
        assert value == max(own)


@pytest.mark.parametrize("given", [3, "L2N5", None, object()])
def test_what_cannot_be_explained_is_told(given: object) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be explained"):
        subject_of(given)


def test_a_record_without_activations_is_told() -> None:
    silent = ne.NeuronRecord(ne.NeuronId(0, 3), most_positive_activation_records=[example("a b", 0.0)] * 4)
    with pytest.raises(InvalidRequestError, match="L0N3 has no examples with an activation above 0"):
        most_frequent_token(subject_of(silent))


def test_the_most_frequent_token_is_counted_where_it_is_high() -> None:
    top = [example("the cat", 5.0), example("x", 1), example("x", 1), example("x", 1), example("the cat sat cat", 4.0)]
    top += [example("x", 1)] * 3 + [example("the dog", 4.5)] + [example("x", 1)] * 3
    found = most_frequent_token(subject_of(ne.NeuronRecord(ne.NeuronId(0, 0), most_positive_activation_records=top)))
    assert found.text == "the token cat"
    assert found.simulate(["a", "cat"]) == [0.0, 1.0]


@pytest.mark.parametrize("text", ["", "  ", "a" * 10_001, cast(Any, 3)])
def test_texts_that_are_not_explanations(text: str) -> None:
    with pytest.raises((InvalidRequestError, TypeError)):
        Explanation(text)


def test_words_alone_do_not_simulate() -> None:
    explanation = Explanation(" words for animals ")
    assert explanation.text == "words for animals"
    with pytest.raises(InvalidRequestError, match="words alone"):
        explanation.simulate(["a"])
    listed = Explanations([explanation, Explanation("cat", "me", OneToken("cat"))], "L0N0")
    assert listed.to_dataframe()["can_simulate"].tolist() == [False, True]
    assert listed[1:].name == "L0N0"
    assert "words for animals" in repr(listed)


def windows(n: int, of: int, step: int) -> list[list[str]]:
    """Windows of a document whose words are all different."""
    return [[f"w{place}" for place in range(start, start + of)] for start in range(0, n * step, step)]


@pytest.mark.parametrize(("step", "share"), [(1, True), (8, True), (9, False), (16, False)])
def test_overlapping_windows_of_a_document_are_in_one_part(step: int, share: bool) -> None:
    top = [ne.ActivationRecord(tokens, [*[0.0] * 15, 9.0]) for tokens in windows(16, 16, step)]
    parts = HeldOutExamples.of(ne.NeuronRecord(ne.NeuronId(0, 0), most_positive_activation_records=top))
    seen = {token for each in parts.train for token in each.tokens}
    longest = max((len(seen & set(each.tokens)) for each in parts.test), default=0)
    assert len(parts.train) == 4
    assert (len(parts.test) < 4) is share
    assert longest < 8


def test_a_text_within_another_is_in_one_part_with_it_and_short_pieces_are_nobodys() -> None:
    whole = [f"w{place}" for place in range(40)]
    others = [whole[10:20], ["<begin>", *whole], ["the", *whole[:7]], ["a"], ["w3"], ["w3", "w4"]]
    top = [ne.ActivationRecord(tokens, [*[0.0] * (len(tokens) - 1), 9.0]) for tokens in [whole, *others]]
    seen = SeenTexts([whole])
    assert [seen.shares(each) for each in others] == [True, True, False, False, False, False]
    assert SeenTexts([["<begin>", *whole]]).shares(whole)
    assert SeenTexts([whole[10:20]]).shares(whole)
    tops = [top[0], example("a b c", 9), example("d e f", 9), example("g h i", 9)]
    parts = HeldOutExamples.of(ne.NeuronRecord(ne.NeuronId(0, 0), top[1:3], most_positive_activation_records=tops))
    assert [each.tokens for each in parts.train] == [whole]
    assert parts.random == ()
    assert not {text_key(each) for each in top[1:3]} & {text_key(each) for each in (*parts.calibration, *parts.test)}


def test_texts_of_one_token_alone() -> None:
    seen = SeenTexts([["a"] * 1000] * 20)
    assert not any(seen.shares([*["a"] * 400, *map(str, range(600))]) for _ in range(20))
    assert seen.shares(["a"] * 500)
