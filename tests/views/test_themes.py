"""The colours of light and dark cards: contrast, order, and what colour-blind people see of them."""

import math

import numpy as np
import pytest

from helpers.html_reading import read_html
from neuron_explainer.views.colour import N_LEVELS, background_of_level, contrast, relative_luminance, text_colour
from neuron_explainer.views.document import INK, MUTED, PAPER, card, html_document
from neuron_explainer.views.theme import dark

LEVELS = range(-N_LEVELS, N_LEVELS + 1)
# Machado, Oliveira, Fernandes: A physiologically-based model for simulation of color vision deficiency (2009)
COLOUR_BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB of a linear colour, under D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    ratio = xyz / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _seen(colour: str, kind: str) -> np.ndarray:
    return _lab(np.clip(np.array(COLOUR_BLIND[kind]) @ _linear(colour), 0, 1))


@pytest.mark.parametrize("level", LEVELS)
def test_text_is_readable_on_every_level(level: int) -> None:
    light, ground = background_of_level(level), dark.dark_of_level(level)
    assert contrast(text_colour(light), light) >= 4.5
    assert contrast(dark.text_on(ground), ground) >= 4.5


def test_secondary_texts_are_readable_in_both_themes() -> None:
    assert contrast(INK, PAPER) > 7
    assert contrast(MUTED, PAPER) > 5
    for text in (dark.DARK_INK, dark.DARK_MUTED):
        for ground in (dark.DARK_PAPER, dark.DARK_PAGE, "#33261a", "#3a1e1e"):
            assert contrast(text, ground) > 5
    assert contrast("#ff9a94", "#3a1e1e") > 5  # an error's


@pytest.mark.parametrize("of_level", [background_of_level, dark.dark_of_level])
def test_lightness_follows_magnitude_equally_on_both_sides(of_level) -> None:
    luminance = {level: relative_luminance(of_level(level)) for level in LEVELS}
    away = 1 if of_level is dark.dark_of_level else -1
    for sign in (1, -1):
        steps = np.diff([away * luminance[sign * level] for level in range(N_LEVELS + 1)])
        assert (steps > 0).all()
    for level in range(1, N_LEVELS + 1):
        above, below = (_lab(_linear(of_level(sign * level)))[0] for sign in (1, -1))
        assert above == pytest.approx(below, abs=4)


def test_zero_is_the_paper() -> None:
    assert background_of_level(0) == PAPER
    assert dark.dark_of_level(0) == dark.DARK_PAPER


@pytest.mark.parametrize("kind", COLOUR_BLIND)
@pytest.mark.parametrize("of_level", [background_of_level, dark.dark_of_level])
def test_the_hues_stay_apart_for_colour_blind_people(of_level, kind: str) -> None:
    """A difference of 2.3 is just noticeable."""
    apart = {
        level: math.dist(_seen(of_level(level), kind), _seen(of_level(-level), kind))
        for level in range(1, N_LEVELS + 1)
    }
    assert min(apart[level] for level in range(4, N_LEVELS + 1)) > 10
    assert min(apart[level] for level in range(16, N_LEVELS + 1)) > 25
    assert apart[1] > 2.3


def test_a_card_has_rules_for_its_own_colours_alone() -> None:
    page = card('<i style="background-color:#cb6800;color:#000000">a</i>')
    assert "#cb6800" in page.split("</style>")[0]
    assert background_of_level(3) not in page
    assert len(card("")) < 3200
    assert card("a") == card("a")
    bare, coloured = read_html(card("a")), read_html(page)
    assert bare.find("section")[0].attributes["class"] != coloured.find("section")[0].attributes["class"]


def test_texts_of_records_are_no_rules() -> None:
    hostile = (
        '<bdi title=";color:red}*{display:none}&quot;background-color:#cb6800;">;border:9px solid #cb6800;x{}</bdi>'
    )
    style = card(hostile).split("</style>")[0]
    assert "display:none" not in style
    assert "red" not in style


def test_a_document_follows_the_readers_system_and_a_card_the_page() -> None:
    html = card('<i style="background-color:#cb6800">a</i>')
    document = html_document(html, "A card")
    assert "prefers-color-scheme" not in html
    assert "data-jp-theme-light" in html
    assert html in document
    assert document.count("@media(prefers-color-scheme:dark)") == 1
