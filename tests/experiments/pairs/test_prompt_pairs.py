"""Pairs of prompts: made by rule, aligned for a model, taken from tables and files, and asked about."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pandas
import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.errors import (
    InvalidRequestError,
    MalformedRecordError,
    MisconfiguredError,
    MissingFileError,
    NeuronExplainerError,
    TooLargeError,
    UnknownNameError,
)
from neuron_explainer.experiments.pairs import files
from neuron_explainer.experiments.pairs.kinds import PAIR_KINDS
from neuron_explainer.experiments.pairs.pair import alternatives_of

KINDS = list(PAIR_KINDS)
ALIGNED_ON_TINY = ["indirect_objects", "agreement", "gender", "induction"]


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_different_and_the_same_each_time(kind: str) -> None:
    pairs = ne.prompt_pairs(kind, 60)
    assert len(pairs) == len(set(pairs)) == 60
    assert pairs == ne.prompt_pairs(kind, 60, seed=0)
    assert pairs[:20] == ne.prompt_pairs(kind, 20)  # fewer of them are the first ones
    assert pairs != ne.prompt_pairs(kind, 60, seed=1)
    for pair in pairs:
        assert not set(alternatives_of(pair.target)) & set(alternatives_of(pair.distractor))
        assert not pair.clean.endswith(" ")


def test_indirect_objects_are_what_they_say() -> None:
    for pair, with_others in zip(
        ne.prompt_pairs("indirect_objects", 50), ne.prompt_pairs("indirect_objects_abc", 50), strict=True
    ):
        receiver, giver = alternatives_of(pair.target)[0].strip(), alternatives_of(pair.distractor)[0].strip()
        assert (pair.clean.count(receiver), pair.clean.count(giver)) == (1, 2)
        assert (pair.corrupted.count(receiver), pair.corrupted.count(giver)) == (2, 1)
        assert pair.clean.rpartition(giver)[0] == pair.corrupted.rpartition(receiver)[0]
        names = [str(answer).strip() for answer in (with_others.target, with_others.distractor)]
        assert [with_others.clean.split().count(name) + with_others.clean.count(f"{name},") for name in names] != [0, 0]
        assert not set(names) & set(with_others.corrupted.replace(",", "").split())


def test_agreement_has_an_attractor_of_the_other_number() -> None:
    singular = {" is", " was", " has"}
    seen = set()
    for pair in ne.prompt_pairs("agreement", 60):
        subject, attractor = pair.clean.split()[1], pair.clean.split()[-1]
        is_one = pair.target in singular
        assert subject.endswith("s") is not is_one
        assert attractor.endswith("s") is is_one
        assert pair.corrupted.split()[-1] == attractor
        assert pair.corrupted.split()[1].endswith("s") is is_one
        seen.add(is_one)
    assert seen == {True, False}


def test_years_end_later_than_they_begin() -> None:
    for pair in ne.prompt_pairs("greater_than", 40):
        start = int(pair.clean.split("year ")[1][2:4])
        assert {*map(int, alternatives_of(pair.target))} == {*range(start + 1, 100)}
        assert {*map(int, alternatives_of(pair.distractor))} == {*range(start + 1)}
        assert pair.corrupted.split("year ")[1][2:4] == "01"


def test_induction_goes_on_with_the_list() -> None:
    for pair in ne.prompt_pairs("induction", 40):
        words, others = pair.clean.split()[1:], pair.corrupted.split()[1:]
        assert words[words.index(words[-1]) + 1] == str(pair.target).strip()
        assert others[others.index(others[-1]) + 1] == str(pair.distractor).strip()
        assert sorted(words) == sorted(others)


def check_aligned(model: ne.ModelContext, pairs: ne.PromptPairs) -> None:
    for pair in pairs:
        clean, corrupted = model.encode(pair.clean), model.encode(pair.corrupted)
        assert len(clean) == len(corrupted)
        assert clean != corrupted
        answers = [model.encode(text, add_special_tokens=False) for text in alternatives_of(pair.target)]
        others = [model.encode(text, add_special_tokens=False) for text in alternatives_of(pair.distractor)]
        assert all(len(each) == 1 for each in answers + others)
        assert not {each[0] for each in answers} & {each[0] for each in others}
        assert model.encode(pair.clean + alternatives_of(pair.target)[0]) == clean + answers[0]


@pytest.mark.parametrize("kind", ALIGNED_ON_TINY)
def test_pairs_are_aligned_for_a_model(tiny: ne.StandardModelContext, kind: str) -> None:
    pairs = ne.prompt_pairs(kind, 6, model=tiny)
    assert len(pairs) == 6
    check_aligned(tiny, pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_aligned_for_a_usual_tokenizer(kind: str, smollm2: ne.ModelContext) -> None:
    check_aligned(smollm2, ne.prompt_pairs(kind, 40, model=smollm2))


def word_starts(model: ne.ModelContext, prompt: str) -> list[int]:
    """At which position each word begins, by the characters of the tokens."""
    starts, text = [], ""
    for position, token in enumerate(model.decode_token_list(model.encode(prompt))):
        if not text or token.startswith(" "):
            starts.append(position)
        text += token
    assert text == prompt
    return starts


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_at_the_same_positions_in_pairs_of_one_form(kind: str, smollm2: ne.ModelContext) -> None:
    pairs = ne.prompt_pairs(kind, 30, seed=3, model=smollm2, same_positions=True)
    assert len(set(pairs)) == 30
    check_aligned(smollm2, pairs)
    prompts = [prompt for pair in pairs for prompt in (pair.clean, pair.corrupted)]
    assert len({tuple(word_starts(smollm2, prompt)) for prompt in prompts}) == 1
    assert pairs == ne.prompt_pairs(kind, 30, seed=3, model=smollm2, same_positions=True)


def test_pairs_of_one_form_are_one_sentence_without_a_model() -> None:
    pairs = ne.prompt_pairs("indirect_objects", 40, same_positions=True)
    words = [pair.clean.replace(",", "").split() for pair in pairs]
    assert len({len(each) for each in words}) == 1
    receivers = {own.index(str(pair.target).strip()) for pair, own in zip(pairs, words, strict=True)}
    assert len(receivers) == 1  # always the first name, or always the second
    same = [column for column in zip(*words, strict=True) if len(set(column)) == 1]
    assert len(same) >= len(words[0]) - 6  # all but names, place and thing


def test_too_few_pairs_of_one_form_are_told(tiny: ne.StandardModelContext) -> None:
    with pytest.raises(InvalidRequestError, match="not at the same positions as in those found"):
        ne.prompt_pairs("indirect_objects", 5000, model=tiny, same_positions=True)


def test_a_token_for_each_digit_makes_the_answer_a_digit(smollm2: ne.ModelContext) -> None:
    pair = ne.prompt_pairs("greater_than", 1, model=smollm2)[0]
    tens = int(pair.clean.split("year ")[1][2])
    assert {*map(int, alternatives_of(pair.target))} == {*range(tens + 1, 10)}


def test_too_few_pairs_are_told_with_the_reasons(tiny: ne.StandardModelContext) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        ne.prompt_pairs("facts", 10, model=tiny)
    said = str(raised.value)
    assert "10 pairs of the kind facts that are aligned for tiny were asked for, and 0 were found" in said
    assert "an answer is several tokens" in said
    assert "not of as many tokens" in said
    assert "agreement" in said
    with pytest.raises(InvalidRequestError, match="Ask for at most"):
        ne.prompt_pairs("facts", 5000)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ne.prompt_pairs("objects"), "Unknown kind of prompt pairs 'objects'"),
        (lambda: ne.prompt_pairs(cast(Any, 3)), "Give the name of a kind"),
        (lambda: ne.prompt_pairs("facts", 0), "n is 0"),
        (lambda: ne.prompt_pairs("facts", 10**6), "10,000 or less"),
        (lambda: ne.prompt_pairs("facts", seed=-1), "seed is -1"),
        (
            lambda: ne.prompt_pairs("facts", 3, cast(Any, ne.load_model("tiny", device="cpu"))),
            "Give it by name: model=",
        ),
        (lambda: ne.PromptPairs(cast(Any, "pairs.jsonl")), "PromptPairs.from_jsonl reads a file"),
        (lambda: ne.PromptPairs([]), "pairs is empty"),
        (lambda: ne.PromptPairs(cast(Any, "ab")), "pairs is 'ab'"),
        (lambda: ne.PromptPairs(cast(Any, ["a"])), "pairs holds 'a'"),
        (lambda: ne.PromptPair("a", "a", " b", " c"), "clean and corrupted are both 'a'"),
        (lambda: ne.PromptPair("a", "b", " c", " c"), "target and distractor are both ' c'"),
        (lambda: ne.PromptPair("", "b", " c", " d"), "clean has 0 characters"),
        (lambda: ne.PromptPair("a" * 10**6, "b", " c", " d"), "clean has 1,000,000 characters"),
        (lambda: ne.PromptPair("a", cast(Any, 3), " c", " d"), "corrupted must be of type str"),
        (lambda: ne.PromptPair("a", "b", cast(Any, []), " d"), "target has 0 alternatives"),
        (lambda: ne.PromptPair("a", "b", " c", cast(Any, [3])), r"distractor\[0\] must be of type str"),
        (lambda: ne.PromptPair("a", "b\udce9", " c", " d"), "not valid text"),
        (lambda: ne.PromptPairs([ne.PromptPair("a", "b", " c", " d")]).halves(), "no halves"),
    ],
)
def test_mistakes_are_told(make: Callable[[], Any], said: str) -> None:
    with pytest.raises((InvalidRequestError, UnknownNameError), match=said):
        make()


def test_halves_have_every_pair_once() -> None:
    pairs = ne.prompt_pairs("facts", 7)
    one, other = pairs.halves()
    assert (len(one), len(other)) == (4, 3)
    assert {*one, *other} == {*pairs}
    assert one.kind == "facts"


def test_tables_and_files_give_back_the_pairs(tmp_path: Path) -> None:
    for kind in ("greater_than", "indirect_objects"):
        pairs = ne.prompt_pairs(kind, 8)
        assert ne.PromptPairs.from_dataframe(pairs.to_dataframe()) == pairs
        pairs.to_jsonl(tmp_path / "pairs.jsonl")
        assert ne.PromptPairs.from_jsonl(tmp_path / "pairs.jsonl") == pairs
    lines = (tmp_path / "pairs.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["target"] == pairs[0].target
    (tmp_path / "own.jsonl").write_text(
        '\ufeff{"clean": "é", "corrupted": "b", "target": [" c"], "distractor": " d", "id": 7}\n\n', encoding="utf-8"
    )
    assert ne.PromptPairs.from_jsonl(str(tmp_path / "own.jsonl"))[0] == ne.PromptPair("é", "b", " c", " d")


GOOD = '{"clean": "a", "corrupted": "b", "target": " c", "distractor": " d"}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has no pairs"),
        (b"\x80\x04\x95", "line 1"),
        (f"{GOOD}\n[1]\n".encode(), "line 2"),
        (f"{GOOD}\n{GOOD[:-1]}\n".encode(), "line 2"),
        (b'{"clean": "a", "corrupted": "b", "target": " c"}', "distractor"),
        (GOOD.replace('"a"', "3").encode(), "line 1"),
        (GOOD.replace('" c"', "[]").encode(), "target has 0 alternatives"),
        (GOOD.replace('" c"', '[" c", 3]').encode(), "line 1"),
        (GOOD.replace('"b"', '"a"').encode(), "both 'a'"),
        (b"[" * 10**5, "line 1"),
        (GOOD.encode("utf-16"), "line 1"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(content)
    with pytest.raises(MalformedRecordError, match=said) as raised:
        ne.PromptPairs.from_jsonl(tmp_path / "pairs.jsonl")
    assert "is not a file of prompt pairs" in str(raised.value)


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{GOOD}\n" * 10_001)
    with pytest.raises(MalformedRecordError, match="more than 10,000 pairs"):
        ne.PromptPairs.from_jsonl(path)
    monkeypatch.setattr(files, "_MOST_BYTES", 1000)
    with pytest.raises(TooLargeError):
        ne.PromptPairs.from_jsonl(path)
    with pytest.raises(MissingFileError):
        ne.PromptPairs.from_jsonl(tmp_path / "none.jsonl")


def test_tables_that_are_none_are_refused() -> None:
    columns = ["clean", "corrupted", "target", "distractor"]
    for frame, said in [
        (3, "Give a pandas DataFrame"),
        (pandas.DataFrame({"clean": ["a"], "target": ["b"]}), "corrupted, distractor"),
        (pandas.DataFrame([["a", "b", " c", " d", "e"]], columns=[*columns, "clean"]), "not so for clean"),
        (pandas.DataFrame([["a", "b", " c", " d"], ["a", "b", " c", float("nan")]], columns=columns), "Row 1: distr"),
        (pandas.DataFrame([], columns=columns), "pairs is empty"),
    ]:
        with pytest.raises(InvalidRequestError, match=said):
            ne.PromptPairs.from_dataframe(frame)


def test_attribute_takes_pairs(tiny: ne.StandardModelContext) -> None:
    pairs = ne.prompt_pairs("gender", 2, model=tiny)
    expected = [ne.attribute(tiny, pair.clean, pair.target, pair.distractor).value for pair in pairs]
    assert ne.attribute(tiny, pairs).values == pytest.approx(expected, rel=1e-4)
    assert ne.attribute(tiny, iter(pairs)).values == pytest.approx(expected, rel=1e-4)
    assert ne.attribute(tiny, pairs[0]).value == pytest.approx(expected[0], rel=1e-4)
    likely = ne.attribute(tiny, pairs, metric="probs").values
    assert likely == pytest.approx(
        [ne.attribute(tiny, pair.clean, pair.target, metric="probs").value for pair in pairs], rel=1e-3
    )
    own = ne.attribute(tiny, pairs, metric=lambda logits: logits[-1, 5]).values
    assert own[1] == pytest.approx(
        ne.attribute(tiny, pairs[1].clean, metric=lambda logits: logits[-1, 5]).value, rel=1e-4
    )
    with pytest.raises(MisconfiguredError, match="their own target"):
        ne.attribute(tiny, pairs, " he")
    with pytest.raises(NeuronExplainerError, match="Give pairs alone"):
        ne.attribute(tiny, cast(Any, [pairs[0], "a text"]))


def test_pairs_show_themselves_as_text() -> None:
    hostile = [text for text in HOSTILE_TOKENS if text and text.encode(errors="ignore").decode() == text]
    pairs = ne.PromptPairs([ne.PromptPair(text, f"{text}.", f" {text}", "b") for text in hostile], "<b>kind</b>")
    page = pairs._repr_html_()
    for tag in ("<script", "<img", "<iframe", "<svg", "<b>kind"):
        assert tag not in page
    assert f"and {len(hostile) - 20} more" in page or f"and {len(hostile) - 20} pairs more" in page
    years = ne.prompt_pairs("greater_than", 3)
    assert "something lasts from one year to a later one" in years._repr_html_()
    assert "more" in years._repr_html_()
    assert repr(years).startswith("<PromptPairs: 3 prompt pairs (greater_than), first 'The ")
    assert len(years._repr_html_()) < 10_000
