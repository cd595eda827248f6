"""Parts of a character are joined, and right-to-left text keeps its direction."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.html_reading import Element, assert_harmless
from neuron_explainer import load_model
from neuron_explainer.activations.activations import ActivationRecord
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.heatmap import token_heatmap
from neuron_explainer.views.running_text import text_pieces
from neuron_explainer.views.token_pairs import pair_view

FAMILY, FLAGS = "👩\u200d👩\u200d👧", "🇫🇷🇩🇪"


def _bytes_of(text: str) -> list[str]:
    """One token for each byte, as a byte-level tokenizer without merges has them."""
    return [f"\\x{byte:02x}" if byte > 127 else chr(byte) for byte in text.encode()]


def _texts(tokens: list[str]) -> list[str]:
    return [piece.text for piece in text_pieces(tokens, range(len(tokens)))]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a😀b", ["a", "😀", "b"]),
        ("é漢", ["é", "漢"]),
        (FAMILY, [FAMILY]),
        (FLAGS, ["🇫🇷", "🇩🇪"]),
        ("👍🏽!", ["👍🏽", "!"]),
        ("مر", ["م", "ر"]),
    ],
)
def test_bytes_of_a_character_are_the_character(text: str, shown: list[str]) -> None:
    assert _texts(_bytes_of(text)) == shown


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        ([" \\xf0\\x9f", "\\x98\\x80"], [" 😀"]),  # as GPT-2 cuts it
        (["\\xf0\\x9f\\x98", "\\x80\\xf0\\x9f", "\\x98\\x81!"], ["😀😁!"]),  # a token that ends one and begins another
        (["\\xf0", "a", "\\x9f"], ["\\xf0", "a", "\\x9f"]),
        (["\\xf0\\x9f"], ["\\xf0\\x9f"]),
        (["\\x98", "\\x80"], ["\\x98", "\\x80"]),  # the character began before the excerpt
        (["\\xc3", "(\\xa9"], ["\\xc3", "(\\xa9"]),
        (["\\xed", "\\xa0", "\\x80"], ["\\xed", "\\xa0", "\\x80"]),  # half of a surrogate pair
        (["\\x41", "\\xzz"], ["\\x41", "\\xzz"]),
        ([], []),
    ],
)
def test_what_is_joined(tokens: list[str], shown: list[str]) -> None:
    assert _texts(tokens) == shown


@given(st.text(max_size=12), st.integers(0, 2**32))
def test_any_text_cut_anywhere_is_shown_whole(text: str, seed: int) -> None:
    content, cuts = text.encode("utf-8", "ignore"), random.Random(seed)
    tokens, start = [], 0
    while start < len(content):
        stop = start + cuts.randint(1, 5)
        tokens.append(content[start:stop].decode("utf-8", "backslashreplace"))
        start = stop
    pieces = text_pieces(tokens, range(len(tokens)))
    assert [place for piece in pieces for place in piece.positions] == list(range(len(tokens)))
    if "\\" not in text:
        assert "".join(piece.text for piece in pieces) == content.decode()


def test_a_joined_character_has_its_strongest_colour_and_each_value() -> None:
    tokens = ["Hi", " ", *_bytes_of("😀"), "!"]
    values = [0.1, 0.0, 0.5, -3.0, 0.25, 1.0, 0.2]
    scale = ColourScale(-4, 4)
    element = assert_harmless(token_heatmap(tokens, values, scale=scale)).find("bdi")[2]
    assert element.text == "😀"
    assert element.style["background-color"] == scale.background(-3.0)
    assert element.find("b") != []  # the largest value, 1.0, is one of its tokens'
    title = element.attributes["title"]
    assert title.startswith("😀 · positions 2–5")
    for said in ("\\xf0 (2) 0.5", "\\x9f (3) −3", "\\x98 (4) 0.25", "\\x80 (5) 1"):
        assert said in title


def test_a_joined_character_of_token_pairs() -> None:
    tokens = ["a", *_bytes_of("é")]
    html = pair_view(ActivationRecord(tokens, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    elements = assert_harmless(html).find("div", "ne-text")[0].find("bdi")
    assert [element.text for element in elements] == ["a", "é"]
    assert "\\xa9 (2) attends most to \\xa9 (2): 0.6" in elements[1].attributes["title"]


def test_the_embedded_models_tokens_of_an_emoji() -> None:
    tiny = load_model("tiny")
    tokens = tiny.decode_token_list(tiny.encode("Hi 😀!"))
    assert len(tokens) > 6
    assert "😀" in assert_harmless(token_heatmap(tokens, [0.0] * len(tokens))).text


def _runs(html: str) -> list[Element]:
    return [run for run in assert_harmless(html).find("span") if run.attributes.get("dir") == "rtl"]


def test_right_to_left_words_are_one_run() -> None:
    tokens = ["Say", " שלום", " 12", ",", " مر", "حبا", " now"]
    html = token_heatmap(tokens, [1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 0.0])
    text = assert_harmless(html).find("div", "ne-text")[0]
    assert text.attributes["dir"] == "ltr"
    (run,) = _runs(html)
    assert run.text == "·שלום·12,·مرحبا"
    assert run.style == {"unicode-bidi": "isolate"}
    assert [element.style["unicode-bidi"] for element in run.find("bdi")] == ["normal"] * 5  # so that letters join
    others = [element for element in text.find("bdi") if element not in run.find("bdi")]
    assert [element.text for element in others] == ["Say", "·now"]
    assert all("unicode-bidi" not in element.style for element in others)  # isolated, as browsers do


def test_runs_end_at_other_text() -> None:
    def run_texts(*tokens: str) -> list[str]:
        return [run.text for run in _runs(token_heatmap(tokens, [0.0] * len(tokens)))]

    assert run_texts("a", " ", "b") == []
    assert run_texts("א", " ", "b") == ["א"]
    assert run_texts("א", "\n", "ב") == ["א", "ב"]
    assert run_texts("א", "\u202e", "ב") == ["א", "ב"]  # a direction character is an escape, in Latin letters
    assert run_texts("א", "bא", "ב") == ["א", "ב"]


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        (["e", "\u0301", "t"], ["e\u0301", "t"]),
        (["👩", "\u200d", "👧", "!"], ["👩\u200d👧", "!"]),
        (["🇩", "🇪", "🇫", "🇷"], ["🇩🇪", "🇫🇷"]),
        (["👍", "🏽", "🏽"], ["👍🏽🏽"]),
        (["क", "्", "ष", "त"], ["क्ष", "त"]),
        (["ครั", "บ"], ["ครั", "บ"]),
        (["ค", "รั", "\u0e49"], ["ค", "รั\u0e49"]),
        ([" ", "\u0301"], [" ", "\u0301"]),
        (["\x00", "\u0301"], ["\x00", "\u0301"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_tokens_that_are_one_character_for_a_reader(tokens: list[str], shown: list[str]) -> None:
    assert [piece.text for piece in text_pieces(tokens, range(len(tokens)))] == shown


def test_joiners_between_letters_work_and_are_named() -> None:
    tokens = ["می\u200cرود", "a\u200cb", "\u200cخو", "\u200c"]
    elements = assert_harmless(token_heatmap(tokens, [0.0] * 4)).find("div", "ne-text")[0].find("bdi")
    assert [element.text for element in elements] == ["می\u200cرود", "a\\u200cb", "\u200cخو", "\\u200c"]
    for element in elements:
        assert "\\u200c" in element.attributes["title"]
        assert "\u200c" not in element.attributes["title"]


def test_hidden_characters_are_marked_and_have_a_switch() -> None:
    html = token_heatmap(["a b", "\t", "x\u202ey", "\r", "", "\n"], [0.0] * 6)
    root = assert_harmless(html)
    (switch,) = root.find("details", "ne-hidden")
    assert "open" not in switch.attributes
    marks = [(mark.attributes.get("class", ""), mark.text) for mark in root.find("div", "ne-text")[0].find("i")]
    escapes = [("ne-e", "\\u202e"), ("ne-e", "\\r"), ("ne-o", "∅")]
    assert marks == [("", "·"), ("", "⇥"), *escapes, ("", "↵")]
    assert "\u202e" not in html
    assert not assert_harmless(token_heatmap(["ab", "c"], [0.0, 1.0])).find("details")
