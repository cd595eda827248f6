"""Tokens as text, values as colours, and the heatmap made of both."""

import math
import unicodedata
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless, read_html
from neuron_explainer.activations.activations import ActivationRecord
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError
from neuron_explainer.views.colour import N_LEVELS, ColourScale, background_of_level, contrast, text_colour
from neuron_explainer.views.document import INK, MUTED, PAPER, html_document
from neuron_explainer.views.heatmap import excerpt_around, format_value, peak_of, token_heatmap
from neuron_explainer.views.token_text import escaped, token_html, token_label


def _tokens(html: str) -> list[Element]:
    return assert_harmless(html).find("bdi")


# Tokens


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (" the", "·the"),
        ("a\n\n", "a↵↵"),
        ("\tx", "⇥x"),
        ("\r\n", "\\r↵"),
        ("\x00\x1b[0m", "\\x00\\x1b[0m"),
        ("\u202egnp", "\\u202egnp"),
        ("\u200b", "\\u200b"),
        ("\u2028", "\\u2028"),
        ("\u00a0", "\\xa0"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("", "∅"),
        ("\\xe2\\x80", "\\xe2\\x80"),  # the bytes of a piece of a character, as tokenizers spell them
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("שלום", "שלום"),
        ("日本", "日本"),
        ("<b>&", "<b>&"),
    ],
)
def test_a_tokens_label(token: str, label: str) -> None:
    assert token_label(token) == label


@pytest.mark.parametrize(
    "emoji",
    ["👍🏽", "👩‍👩‍👧", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇮🇸", "1️⃣", "👩🏽‍🚀", "🏳️‍🌈"],
    ids=["skin tone", "family", "selector", "England", "Iceland", "keycap", "astronaut", "rainbow"],
)
def test_emoji_stay_whole(emoji: str) -> None:
    assert token_label(emoji) == emoji
    assert token_html(emoji) == emoji


@pytest.mark.parametrize("lone", ["\u200d", "a\u200db", "\ufe0f", "\U000e0067", "👍\u200d", "\u200d👍"])
def test_joiners_and_selectors_outside_of_emoji_are_escaped(lone: str) -> None:
    assert "\\u" in token_label(lone).lower()


@given(st.text())
def test_every_character_is_seen_or_escaped(token: str) -> None:
    shown = read_html(token_html(token)).text
    assert shown == token_label(token)
    for character in shown:
        assert (
            character == " "
            or character not in token
            or unicodedata.category(character)[0] != "C"
            or (character == "\u200d" or 0xE0020 <= ord(character) < 0xE0080)
        )
    assert not set(shown) & set(" \n\r\t\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def test_a_newline_breaks_the_line() -> None:
    assert token_html("a\nb") == "a<i>↵</i><br>b"


# Colours


def test_the_scale_is_symmetric_and_zero_is_white() -> None:
    scale = ColourScale.of([-1.0, 4.0, 0.5])
    assert (scale.low, scale.high, scale.limit) == (-1.0, 4.0, 4.0)
    assert scale.background(0.0) == "#ffffff"
    assert scale.level(4.0) == N_LEVELS
    assert scale.level(-1.0) == -N_LEVELS // 4
    assert scale.level(-9.0) == -N_LEVELS  # beyond the scale: its end
    assert scale.background(2.0) != scale.background(-2.0)


def test_negative_values_alone_have_colours() -> None:
    scale = ColourScale.of([-3.0, -1.0])
    assert scale.limit == 3.0
    assert scale.background(-3.0) == background_of_level(-N_LEVELS)
    assert scale.background(-1.0) not in ("#ffffff", scale.background(-3.0))


def test_all_zero_is_white_and_not_an_error() -> None:
    scale = ColourScale.of([0.0, 0.0])
    assert scale.background(0.0) == "#ffffff"
    assert "all values are 0" in token_heatmap(["a"], [0.0])


def test_values_that_are_not_finite_are_grey() -> None:
    scale = ColourScale.of([1.0, math.inf, math.nan, -math.inf])
    assert scale.limit == 1.0
    assert scale.background(math.nan) == scale.background(-math.inf) == "#d5d5d5"
    token = _tokens(token_heatmap(["a", "b"], [-math.inf, 1.0]))[0]
    assert token.attributes["title"] == "a · position 0 · −∞"


@pytest.mark.parametrize("level", range(-N_LEVELS, N_LEVELS + 1))
def test_text_contrasts_with_every_colour(level: int) -> None:
    background = background_of_level(level)
    assert contrast(background, text_colour(background)) >= 4.5


def test_text_contrasts_with_the_card() -> None:
    assert contrast(INK, PAPER) >= 7
    assert contrast(MUTED, PAPER) >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # the well-known near miss


# Simulated colour blindness: matrices for linear sRGB at full severity (Machado, Oliveira, Fernandes 2009)
_BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def _linear(colour: str) -> list[float]:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]


def _lab(linear: list[float]) -> list[float]:
    """CIELAB under D65, from linear sRGB."""
    red, green, blue = (max(0.0, min(1.0, channel)) for channel in linear)
    xyz = (
        (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047,
        0.2126729 * red + 0.7151522 * green + 0.0721750 * blue,
        (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883,
    )
    x, y, z = (value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116 for value in xyz)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


@pytest.mark.parametrize("blindness", sorted(_BLINDNESS))
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_two_sides_differ_for_colour_blind_readers(blindness: str, share: float) -> None:
    level = round(share * N_LEVELS)
    sides = []
    for signed in (level, -level):
        linear = _linear(background_of_level(signed))
        sides.append(_lab([sum(a * b for a, b in zip(row, linear, strict=True)) for row in _BLINDNESS[blindness]]))
    assert math.dist(*sides) > 10  # a difference of 2.3 can just be seen


def test_magnitude_is_lightness_on_both_sides() -> None:
    for sign in (1, -1):
        lightness = [_lab(_linear(background_of_level(sign * level)))[0] for level in range(N_LEVELS + 1)]
        assert lightness == sorted(lightness, reverse=True)
    for level in (N_LEVELS // 2, N_LEVELS):
        above, below = (_lab(_linear(background_of_level(sign * level)))[0] for sign in (1, -1))
        assert abs(above - below) < 4


# Heatmaps


def test_tooltips_show_position_and_value() -> None:
    tokens = _tokens(token_heatmap([" a", "b", "\n"], [0.25, -2.0, 1.0]))
    assert [token.attributes["title"] for token in tokens] == [
        "·a · position 0 · 0.25",
        "b · position 1 · −2",
        "↵ · position 2 · 1",
    ]
    scale = ColourScale.of([0.25, -2.0, 1.0])
    assert [token.style["background-color"] for token in tokens] == [scale.background(v) for v in (0.25, -2.0, 1.0)]
    assert [bool(token.find("b")) for token in tokens] == [False, False, True]  # the peak is told without colour too


def test_a_long_text_is_shown_around_its_peak() -> None:
    values = [0.0] * 200
    values[150] = 1.0
    html = token_heatmap([f"t{place}" for place in range(200)], values, width=10)
    assert [token.text for token in _tokens(html)] == [f"t{place}" for place in range(145, 155)]
    assert "145 earlier tokens not shown" in html
    assert "45 later tokens not shown" in html
    assert "not shown" not in token_heatmap(["a", "b"], [0.0, 1.0], width=2)
    assert len(_tokens(token_heatmap(["t"] * 200, values, width=None))) == 200


@given(st.integers(1, 60), st.integers(1, 70), st.data())
def test_excerpts(n_tokens: int, width: int, data: st.DataObject) -> None:
    peak = data.draw(st.integers(0, n_tokens - 1))
    excerpt = excerpt_around(peak, n_tokens, width)
    assert excerpt.start <= peak < excerpt.stop
    assert excerpt.start >= 0
    assert excerpt.stop <= n_tokens
    assert len(excerpt.positions) == min(width, n_tokens)


def test_peaks_ignore_values_that_are_not_finite() -> None:
    assert peak_of([math.nan, 1.0, math.inf, 3.0, 2.0]) == 3
    assert peak_of([-2.0, -1.0]) == 1
    assert peak_of([]) == 0


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="tokens: 2, values: 1"):
        token_heatmap(["a", "b"], [1.0])
    with pytest.raises(InvalidRequestError, match="width is 0"):
        token_heatmap(["a", "b"], [1.0, 2.0], width=0)
    with pytest.raises(InvalidRequestError, match=r"tokens is 'ab'\. Give a list of texts, one per token"):
        token_heatmap("ab", [1.0, 2.0])
    with pytest.raises(InvalidRequestError, match="title must be of type str, not int"):
        token_heatmap(["a"], [1.0], title=5)  # type: ignore[arg-type]


def test_hostile_tokens_and_titles_are_text() -> None:
    values = [float(place) for place in range(len(HOSTILE_TOKENS))]
    root = assert_harmless(token_heatmap(HOSTILE_TOKENS, values, title="<script>window.pwned=9</script>"))
    assert [token.text for token in root.find("bdi")] == [token_label(token) for token in HOSTILE_TOKENS]
    assert "<script>window.pwned=9</script>" in root.text
    for token, hostile in zip(root.find("bdi"), HOSTILE_TOKENS, strict=True):
        assert token.attributes["title"].startswith(token_label(hostile))


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_any_text_is_only_text(tokens: list[str]) -> None:
    root = assert_harmless(token_heatmap(tokens, [float(place) for place in range(len(tokens))]))
    assert [token.text for token in root.find("bdi")] == [token_label(token) for token in tokens]


def test_direction_characters_are_escaped_in_names_and_messages() -> None:
    assert escaped("\u202e\x00\u2066\r\ud800 <b>") == r"\u202e\x00\u2066\x0d\ud800 &lt;b&gt;"
    for shown in ("a\tb\nc", "שלום", "👩\u200d💻", "é\u0301"):  # what merely looks unusual stays
        assert escaped(shown) == shown


def test_formatted_values() -> None:
    assert [format_value(value) for value in (-0.0, -0.16997, 1234.5678, 1e-9, math.nan)] == [
        "0",
        "−0.17",
        "1235",
        "1e−09",
        "not a number",
    ]


def test_a_document_needs_no_other_file() -> None:
    document = html_document(token_heatmap(["a"], [1.0]), "</title><script>alert(1)</script>")
    assert document.startswith("<!DOCTYPE html>")
    assert "<script" not in document
    assert "default-src &#x27;none&#x27;" in document or "default-src 'none'" in document
    for outside in ("http:", "https:", "src=", "href=", "@import", "url("):
        assert outside not in document


def test_text_on_every_colour_has_contrast() -> None:
    scale = ColourScale(-1.0, 1.0)
    for value in (*np.linspace(-1, 1, 201).tolist(), math.nan):
        style = dict(part.split(":") for part in scale.style(value).split(";") if part)
        assert contrast(style.get("color", INK), style.get("background-color", "#ffffff")) >= 4.5


@pytest.mark.parametrize("values", [torch.ones(3, device="meta"), [10**400, 1, 2]])
def test_values_without_a_float_are_refused(values: Any) -> None:
    with pytest.raises(InvalidRequestError, match="Values must be numbers"):
        token_heatmap(["a", "b", "c"], values)
    with pytest.raises(MalformedRecordError, match="activations must be numbers"):
        ActivationRecord(tokens=["a", "b", "c"], activations=values)
