"""The page of all attention patterns: every pixel and cell is the weight that it stands for, and it stays small."""

import base64
import io
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless
from neuron_explainer.views.attribution.pattern_pictures import NO_PAIR, reduced
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import html_document
from neuron_explainer.views.experiments.attention.drawing import KEPT_OF_ROW, drawn_weights
from neuron_explainer.views.experiments.attention.layout import Layout

PROMPT = "And the LORD said unto Moses"
RIGHT_TO_LEFT = ["שלום", " عالم", " سلام", "‏", " a"]


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny", device="cpu")


def _random(n_layers: int, n_heads: int, n_tokens: int, sharpness: float = 3.0) -> ne.AttentionPatterns:
    """Patterns like those of a model: a softmax of random logits."""
    generator = torch.Generator().manual_seed(n_tokens)
    mask = torch.full((n_tokens, n_tokens), -torch.inf).triu(1)[:, :, None]
    by_layer = {
        layer: (torch.randn(n_tokens, n_tokens, n_heads, generator=generator) * sharpness + mask).softmax(1)
        for layer in range(n_layers)
    }
    tokens = tuple(f" word{number}" for number in range(n_tokens))
    return ne.AttentionPatterns("random", tokens, tuple(range(n_tokens)), by_layer)


def _pixels(image: Element) -> np.ndarray:
    """The colours of a picture, (rows, columns), as `#rrggbb`."""
    data = base64.b64decode(image.attributes["src"].removeprefix("data:image/png;base64,"))
    colours = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    return np.array([["#{:02x}{:02x}{:02x}".format(*pixel) for pixel in row] for row in colours.tolist()])


def _number(style: dict[str, str], name: str) -> float:
    return float(style[name].removesuffix("px"))


def _heads(html: str) -> dict[str, Element]:
    """The element of each head of the large pattern, by its name."""
    return {head.find("span")[0].text: head for head in assert_harmless(html).find("div", "ne-head")}


@pytest.mark.parametrize("skip_first", [False, True])
@pytest.mark.parametrize("n_tokens", [2, 7, 31])
def test_every_pixel_is_a_weight(n_tokens: int, skip_first: bool) -> None:
    found = _random(2, 3, n_tokens)
    root = assert_harmless(found.to_html(skip_first=skip_first))
    first = int(skip_first)
    layout = Layout([0, 1], 3, n_tokens - first)
    weights = {layer: each[first:, first:] for layer, each in found.by_layer.items()}
    limit = max(float(each.max()) for each in weights.values()) if skip_first else 1.0
    scale = ColourScale(0.0, limit)
    images = root.find("img")
    assert [image.attributes["alt"] for image in images[:2]] == ["the heads of layer 0", "the heads of layer 1"]
    for layer in (0, 1):
        assert images[layer].attributes["src"] == images[2 + layer].attributes["src"]  # small and large
        pixels, pitch = _pixels(images[layer]), (n_tokens - first) * layout.zoom + 2
        assert pixels.shape == (pitch - 2, 3 * pitch)
        for head in range(3):
            tile = pixels[:: layout.zoom, head * pitch : (head + 1) * pitch - 2 : layout.zoom]
            for row in range(n_tokens - first):
                for column in range(n_tokens - first):
                    weight = float(weights[layer][row, column, head])
                    assert tile[row, column] == (scale.background(weight) if column <= row else NO_PAIR)
    (legend,) = root.find("div", "ne-legend")
    assert ("first token" in legend.text) is skip_first


def test_the_picture_of_a_layer_is_moved_to_its_head() -> None:
    html = _random(2, 5, 9).to_html("L1H3")
    layout = Layout([0, 1], 5, 9)
    for strip in assert_harmless(html).find("img", "ne-strip"):
        data = base64.b64decode(strip.attributes["src"].split(",")[1])
        pitch = Image.open(io.BytesIO(data)).size[0] / 5
        zoom = _number(strip.style, "width") / (5 * pitch)  # from pixels of the file to those of the page
        assert zoom * layout.zoom == pytest.approx(layout.cell, rel=1e-3)
        assert _number(strip.style, "margin-left") == pytest.approx(-3 * pitch * zoom, abs=0.01)
        moved = [float(each) for each in re.findall(r"\.ne-strip\{margin-left:(-?[\d.]+)px", html)]
        assert moved == pytest.approx([-head * pitch * zoom for head in range(5)], abs=0.01)


@pytest.mark.parametrize("skip_first", [False, True])
def test_cells_tell_who_attends_to_whom_and_how_much(model: ne.ModelContext, skip_first: bool) -> None:
    found = ne.attention(model, PROMPT, skip_first=skip_first)
    heads, first = _heads(found.to_html()), int(skip_first)
    assert set(heads) == {f"L{layer}H{head}" for layer in range(4) for head in range(4)}
    layout = Layout(range(4), 4, 7 - first)
    for name, head in heads.items():
        pattern = found.pattern(name)
        said = {}
        for cell in head.find("b"):
            row, column = (round(_number(cell.style, side) / layout.cell) + first for side in ("top", "left"))
            said[row, column] = cell.attributes["title"]
        assert set(said) == {(row, column) for row in range(first, 7) for column in range(first, row + 1)}
        for (row, column), text in said.items():
            one, other = (found.tokens[each].replace(" ", "·") for each in (row, column))
            number = float(text.rsplit(": ", 1)[1])
            assert text.startswith(f"{one} ({row}) attends to {other} ({column}): ")
            assert number == pytest.approx(float(pattern[row, column]), abs=5.1e-4)


def test_of_many_heads_the_strongest_cells_tell(model: ne.ModelContext) -> None:
    found = _random(20, 10, 24)
    html = found.to_html("L3H4")
    heads = _heads(html)
    assert len(heads["L3H4"].find("b")) == 24 * 25 // 2
    for name in ("L0H0", "L19H9"):
        cells = heads[name].find("b")
        assert len(cells) == 1700 // 200
        said = [float(cell.attributes["title"].rsplit(": ", 1)[1]) for cell in cells]
        flat = np.sort(found.pattern(name).ravel())[::-1][: len(cells)]
        assert said == pytest.approx(flat.tolist(), abs=5.1e-4)
    text = assert_harmless(html).text
    assert "for all cells of L3H4, and the 8 strongest of each other head" in text


def test_rows_and_columns_have_their_tokens(model: ne.ModelContext) -> None:
    found = ne.attention(model, PROMPT)
    (large,) = assert_harmless(found.to_html()).find("div", "ne-large")
    labels = [each.text for each in large.find("bdi")]
    tokens = [token.replace(" ", "·") for token in found.tokens]
    assert labels == [token for token in tokens for _ in range(2)]
    rows = [_number(each.style, "top") for each in large.find("bdi")[::2]]
    assert {round(after - before) for before, after in pairwise(rows)} == {Layout(range(4), 4, 7).cell}


def _shown(html: str) -> list[str]:
    """The heads that are large without style elements."""
    layers = [each for each in assert_harmless(html).find("div", "ne-layer") if each.style["display"] == "block"]
    heads = [each for layer in layers for each in layer.find("div", "ne-head") if each.style["display"] == "block"]
    return [each.find("span")[0].text for each in heads]


def test_one_head_is_open_without_styles_and_without_scripts(model: ne.ModelContext) -> None:
    found = ne.attention(model, PROMPT)
    html = found.to_html("L1H2@3<-0")
    assert _shown(html) == ["L1H2"]
    buttons = assert_harmless(html).find("input")
    assert [each.attributes["aria-label"] for each in buttons if "checked" in each.attributes] == ["L1H2"]
    assert all(each.style["display"] == "none" for each in buttons)  # they are there by the style element alone
    assert all("position" in cell.style for cell in _heads(html)["L1H2"].find("b"))
    strongest = found.to_dataframe(None, skip_first=True)
    other = strongest[strongest["position"] != strongest["attended_position"]].iloc[0]
    assert _shown(found.to_html()) == [other["name"].split("@")[0]]
    document = html_document(html, "patterns")
    for word in ("<script", "http://", "https://", "href="):
        assert word not in document


def test_every_small_pattern_is_the_label_of_its_button(model: ne.ModelContext) -> None:
    root = assert_harmless(ne.attention(model, PROMPT).to_html())
    names = {each.attributes["id"]: each.attributes["aria-label"] for each in root.find("input")}
    assert len(names) == 16
    assert {each.attributes["for"]: each.attributes["title"] for each in root.find("label")} == names
    assert len({each.attributes["name"] for each in root.find("input")}) == 1


def test_outputs_do_not_share_their_choice(model: ne.ModelContext) -> None:
    found = ne.attention(model, PROMPT)
    groups = [{each.attributes["name"] for each in assert_harmless(found.to_html()).find("input")} for _ in range(2)]
    assert not groups[0] & groups[1]


@pytest.mark.parametrize("n_tokens", [65, 130, 300])
def test_long_prompts_are_sparse_and_say_so(n_tokens: int) -> None:
    found = _random(2, 2, n_tokens)
    drawn = drawn_weights(found.by_layer[0])
    for row in range(n_tokens):
        for head in range(2):
            whole, kept = found.by_layer[0][row, :, head], drawn[row, :, head]
            largest = whole.topk(KEPT_OF_ROW).values
            assert torch.equal(kept.topk(KEPT_OF_ROW).values, largest)
            assert int((kept > 0).sum()) <= KEPT_OF_ROW
            assert torch.equal(kept[kept > 0], whole[kept > 0])
    html = found.to_html("L0H1")
    text = assert_harmless(html).text
    assert "of each row only the 4 strongest weights are drawn" in text
    block = -(-n_tokens // 64)
    assert (f"A cell is the largest of {block} × {block} pairs." in text) is (block > 1)
    layout, scale = Layout([0, 1], 2, n_tokens), ColourScale(0.0, 1.0)
    tile = _pixels(assert_harmless(html).find("img")[0])[:: layout.zoom, : layout.n_cells * layout.zoom : layout.zoom]
    cells = reduced(drawn, layout.n_cells)[:, :, 0]
    assert tile.shape == tuple(cells.shape)
    assert all(
        tile[row, column] == scale.background(float(cells[row, column]))
        for row in range(layout.n_cells)
        for column in range(row + 1)
    )
    pattern = found.pattern(0, 1)
    for cell in _heads(html)["L0H1"].find("b"):
        said = re.fullmatch(r"·word(\d+) \(\1\) attends to ·word(\d+) \(\2\): ([\d.]+)", cell.attributes["title"])
        assert said is not None
        row, column = int(said[1]), int(said[2])
        assert float(said[3]) == pytest.approx(float(pattern[row, column]), abs=5.1e-4)
        assert _number(cell.style, "top") == layout.cell * (row // block)
        assert _number(cell.style, "left") == layout.cell * (column // block)


def test_pages_stay_small() -> None:
    assert len(_random(30, 9, 32).to_html()) < 720_000  # of noise, which no file makes smaller
    sharp = _random(30, 9, 32, sharpness=40.0)
    assert len(sharp.to_html()) < 500_000
    for n_tokens in (64, 65, 400):
        assert len(_random(12, 12, n_tokens).to_html()) < 1_000_000


def test_a_page_holds_so_many_heads_and_says_which() -> None:
    found = _random(60, 32, 5)
    html = found.to_html("L50H0")
    assert len(_heads(html)) == 37 * 32
    assert "Of 60 layers 14–50 are shown." in assert_harmless(html).text
    assert _shown(html) == ["L50H0"]
    assert len(html) < 1_200_000


def test_hostile_tokens_stay_text() -> None:
    tokens = (*HOSTILE_TOKENS, *RIGHT_TO_LEFT, "x" * 100_000)
    found = _random(1, 2, len(tokens))
    found = ne.AttentionPatterns("<b>\u202e", tokens, found.token_ids, found.by_layer)
    for html in (found.to_html(), found.to_html(skip_first=True), found.head(0, 1).to_html()):
        root = assert_harmless(html)
        assert "\u202e" not in html
        assert "<b>" in root.text or "Attention of" in root.text
    assert len(found.to_html()) < 500_000
    assert "x" * 30 not in found.to_html()
    assert "<script>window.pwned" in assert_harmless(found.to_html()).text
    assert "window.pwned=1</script>" not in found.to_html()


def test_a_prompt_of_one_token(model: ne.ModelContext) -> None:
    found = ne.attention(model, [5])
    assert len(_heads(found.to_html())) == 16
    for html in (found.to_html(skip_first=True), ne.attention(model, [5], skip_first=True).head(0, 0).to_html()):
        root = assert_harmless(html)
        assert "nothing is left" in root.text
        assert not root.find("img")


def test_one_head_shows_itself_as_on_the_page_of_an_answer(model: ne.ModelContext) -> None:
    head = ne.attention(model, PROMPT, skip_first=True).head("L2H3")
    assert repr(head) == "HeadPattern(L2H3, 7 tokens)"
    assert head._repr_html_() == head.to_html()
    (table,) = assert_harmless(head.to_html()).find("table", "ne-pairs")
    cells = {each.attributes["data-ne-node"]: each for each in table.find("td") if "bgcolor" in each.attributes}
    assert set(cells) == {f"L2H3@{row}<-{column}" for row in range(1, 7) for column in range(1, row + 1)}
    scale = ColourScale(0.0, float(head.weights[:, 1:].max()))
    for name, cell in cells.items():
        row, column = map(int, name.split("@")[1].split("<-"))
        assert cell.attributes["bgcolor"] == scale.background(float(head.weights[row, column]))


def test_numbers_that_are_not_finite_are_drawn_as_nothing() -> None:
    found = _random(1, 2, 5)
    found.by_layer[0][3, 1, 0] = torch.nan
    assert len(_heads(found.to_html())) == 2
    assert len(found.to_dataframe(None)) == 2 * 14 - 1


def test_a_page_is_saved(model: ne.ModelContext, tmp_path) -> None:
    found = ne.attention(model, PROMPT)
    found.save_html(tmp_path / "patterns.html", "L0H3")
    text = (tmp_path / "patterns.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "Attention patterns of tiny" in text
    assert _shown(found._repr_html_()) == _shown(found.to_html())
