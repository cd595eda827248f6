"""Attention patterns of an answer: every pixel and cell is the weight that it stands for."""

import base64
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.errors import InvalidRequestError, NodeNameError
from neuron_explainer.views.attribution.pattern import pattern_grid_html, pattern_html
from neuron_explainer.views.attribution.pattern_pictures import LARGEST, NO_PAIR, reduced
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import html_document
from neuron_explainer.views.heatmap import format_value

PROMPT = "And the LORD said unto"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny")


@pytest.fixture(scope="module")
def why(model: ne.ModelContext) -> Attribution:
    return attribute(model, PROMPT, " Moses", " her")


def _tiles(html: str) -> dict[str, Element]:
    return {image.attributes["alt"]: image for image in assert_harmless(html).find("img")}


def _pixels(tile: Element) -> np.ndarray:
    """The colours of a picture, as `#rrggbb`."""
    file = io.BytesIO(base64.b64decode(tile.attributes["src"].removeprefix("data:image/png;base64,")))
    numbers = np.asarray(Image.open(file).convert("RGB"))
    return np.array([["#" + bytes(pixel).hex() for pixel in row] for row in numbers])


def _expected(weights: np.ndarray, limit: float) -> np.ndarray:
    scale = ColourScale(0.0, limit)
    return np.array(
        [
            [scale.background(float(weight)) if to <= place else NO_PAIR for to, weight in enumerate(row)]
            for place, row in enumerate(weights)
        ]
    )


@pytest.mark.parametrize("skip_first", [False, True])
def test_every_pixel_is_a_weight(why: Attribution, skip_first: bool) -> None:
    html = pattern_grid_html(why, skip_first)
    tiles, first = _tiles(html), int(skip_first)
    assert set(tiles) == {f"L{layer}H{head}" for layer in range(4) for head in range(4)}
    rest = {name: why.pattern(name).numpy()[first:, first:] for name in tiles}
    limit = max(float(each.max()) for each in rest.values()) if skip_first else 1.0
    for name, tile in tiles.items():
        assert (_pixels(tile) == _expected(rest[name], limit)).all(), name
        assert tile.attributes["data-ne-node"] == name
        assert tile.style["image-rendering"] == "pixelated"
    (legend,) = assert_harmless(html).find("div", "ne-legend")
    assert ("first token" in legend.text) is skip_first
    assert format_value(limit) in legend.text


def test_layers_are_rows_of_one_map(why: Attribution) -> None:
    root = assert_harmless(pattern_grid_html(why))
    (table,) = [each for each in root.find("table") if "data-ne-grid" in each.attributes]
    rows = [[image.attributes["alt"] for image in row.find("img")] for row in table.find("tr")]
    assert rows[1:] == [[f"L{layer}H{head}" for head in range(4)] for layer in range(4)]


@pytest.mark.parametrize("n_tokens", [1, 2, 47, 48, 49, 96, 97, 130])
def test_larger_patterns_keep_the_largest_weight_of_each_block(n_tokens: int) -> None:
    weights = torch.rand(n_tokens, n_tokens, 3, generator=torch.Generator().manual_seed(n_tokens))
    found = reduced(weights)
    size = -(-n_tokens // LARGEST)
    assert max(found.shape[:2]) <= LARGEST
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            block = weights[row * size : (row + 1) * size, column * size : (column + 1) * size]
            assert torch.equal(found[row, column], block.amax((0, 1)))
    assert found.amax() == weights.amax()


def _answer(patterns: dict[int, torch.Tensor]) -> Any:
    """What the views ask of an answer, about a prompt of any length."""
    tokens = [f"t{number}" for number in range(len(patterns[0]))]
    return SimpleNamespace(
        effects=[SimpleNamespace(prompt=SimpleNamespace(token_strings=tokens))], patterns=lambda: patterns
    )


def test_a_long_prompt_has_small_pictures_and_says_what_a_pixel_is() -> None:
    weights = torch.rand(130, 130, 2, generator=torch.Generator().manual_seed(0))
    weights = weights * torch.ones(130, 130).tril()[:, :, None]
    html = pattern_grid_html(_answer({0: weights, 1: weights.bfloat16()}))
    tiles = _tiles(html)
    assert "A pixel is the largest weight of 3 × 3 pairs." in assert_harmless(html).text
    assert _pixels(tiles["L0H1"]).shape == (44, 44)
    assert (_pixels(tiles["L0H1"]) == _expected(reduced(weights)[..., 1].numpy(), 1.0)).all()
    assert set(tiles) == {"L0H0", "L0H1", "L1H0", "L1H1"}


def test_many_heads_have_smaller_tiles() -> None:
    few, many = (_tiles(pattern_grid_html(_answer({0: torch.ones(4, 4, n)})))["L0H0"] for n in (4, 64))
    assert few.attributes["width"] == "48"
    assert many.attributes["width"] == "24"


def test_the_chosen_head_is_marked_in_words_too(why: Attribution) -> None:
    html = pattern_grid_html(why, chosen="L1H2@3<-0")
    marked = [name for name, tile in _tiles(html).items() if "outline" in tile.style]
    assert marked == ["L1H2"]
    assert _tiles(html)["L1H2"].attributes["title"] == "L1H2, chosen"
    assert "L1H2 is chosen" in assert_harmless(html).text
    with pytest.raises(NodeNameError):
        pattern_grid_html(why, chosen="everything")


def test_without_the_only_token_nothing_is_left(model: ne.ModelContext) -> None:
    one = attribute(model, [5], 40, 41)
    for html in (pattern_grid_html(one, True), pattern_html(one, "L0H0", True)):
        root = assert_harmless(html)
        assert "nothing is left" in root.text
        assert not root.find("img")
    assert len(_tiles(pattern_grid_html(one))) == 16
    assert "matrix of all token pairs" in assert_harmless(pattern_html(one, "L0H0")).text


def test_pictures_are_shown_by_a_saved_page(why: Attribution) -> None:
    document = html_document(pattern_grid_html(why), "patterns")
    assert "img-src data:" in document
    for word in ("<script", "http://", "https://", "href="):
        assert word not in document


# One head


def _cells(html: str) -> dict[str, str]:
    """The colour of each pair's cell in the matrix."""
    (table,) = [each for each in assert_harmless(html).find("table", "ne-pairs") if "data-ne-grid" in each.attributes]
    cells = [cell.attributes for cell in table.find("td") if "bgcolor" in cell.attributes]
    return {cell["data-ne-node"]: cell["bgcolor"] for cell in cells}


@pytest.mark.parametrize("skip_first", [False, True])
def test_the_matrix_of_a_head_is_its_pattern(why: Attribution, skip_first: bool) -> None:
    html = pattern_html(why, "L2H3@5<-1", skip_first)
    weights = why.pattern("L2H3").numpy()
    first = int(skip_first)
    limit = float(weights[first:, first:].max()) if skip_first else 1.0
    scale = ColourScale(0.0, limit)
    assert _cells(html) == {
        f"L2H3@{row}<-{column}": scale.background(float(weights[row, column]))
        for row in range(len(weights))
        for column in range(first, row + 1)
    }
    root = assert_harmless(html)
    (pairs,) = [each.find("span", "ne-pair") for each in root.find("div") if each.style.get("column-gap")]
    marks = [each.attributes["data-ne-node"] for each in pairs]
    allowed = [(row, column) for row in range(len(weights)) for column in range(first, row + 1)]
    best = sorted(allowed, key=lambda pair: -weights[pair])[:5]
    assert marks == [f"L2H3@{row}<-{column}" for row, column in best]
    (text,) = root.find("div", "ne-text")
    tokens = text.find("bdi")
    assert [token.attributes["data-ne-token"] for token in tokens] == [str(each) for each in range(len(weights))]
    assert ("attention to it is left out" in tokens[0].attributes["title"]) is skip_first


def test_what_is_not_a_head_has_no_pattern(why: Attribution) -> None:
    with pytest.raises(NodeNameError):
        pattern_html(why, "L1N339")
    with pytest.raises(NodeNameError):
        pattern_html(why, "what?")
    with pytest.raises((InvalidRequestError, IndexError)):
        pattern_html(why, "L9H0")


def test_of_answers_of_several_tokens_the_first_is_shown_and_named(model: ne.ModelContext) -> None:
    several = attribute(model, PROMPT, " Moses and Aaron", " her")
    for html in (pattern_html(several, "L2H3"), pattern_grid_html(several)):
        assert "about ' Moses and Aaron'" in assert_harmless(html).text
    assert "about" not in assert_harmless(pattern_html(attribute(model, PROMPT, " Moses"), "L2H3")).text


def test_hostile_tokens_stay_text(model: ne.ModelContext) -> None:
    why = attribute(model, [5 + number for number in range(len(HOSTILE_TOKENS))], 40, 41)
    why.effects[0].prompt.token_strings[:] = HOSTILE_TOKENS
    assert "<script>window.pwned=1</script>" in assert_harmless(pattern_html(why, "L2H3")).text
    assert_harmless(pattern_html(why, "L2H3", True))
