"""The page and the figure of what patching found."""

import numpy as np
import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.experiments.patching.patching import PatchDirection, Patching, PatchMethod, PatchRequest
from neuron_explainer.experiments.patching.sites import PatchedNode
from neuron_explainer.views.experiments.patch_map import map_of_patches

CLEAN, CORRUPTED = "And the LORD said unto Moses", "And the LORD said unto David"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny", device="cpu")


def made(tokens: list[str], by: tuple[str, ...], nodes: list[PatchedNode], scores: list[float]) -> Patching:
    values = np.array(scores)
    prompt = Prompt(list(range(len(tokens))), tokens, 0)
    request = PatchRequest("heads", by, PatchMethod.EXACT, PatchDirection.DENOISE, "logit of '<b>' minus that of 'b'")
    return Patching(request, prompt, prompt, 1.0, 0.0, tuple(nodes), [str(node) for node in nodes], values, values)


def test_the_page_shows_prompts_map_and_strongest_nodes(model: ne.ModelContext) -> None:
    found = ne.patch(model, CLEAN, CORRUPTED, (" the", " her"))
    html = found._repr_html_()
    root = assert_harmless(html)
    cells = [element for element in root.find("td") if "data-ne-node" in element.attributes]
    assert len(cells) == 28
    named = {element.attributes["data-ne-node"]: element.attributes for element in cells}
    assert named["L0START@6"]["bgcolor"] == "#cb6800"  # the deepest colour: the score 1
    assert named["L0START@0"]["bgcolor"] == "#ffffff"
    assert "score 1" in named["L0START@6"]["title"]
    assert "Moses" in html
    assert "David" in html
    assert "ne-legend" in html
    assert html.count("L0START@6") >= 3  # its cell, its words, and the table


def test_noise_is_white_where_nothing_changes(model: ne.ModelContext) -> None:
    found = ne.patch(model, CLEAN, CORRUPTED, (" the", " her"), direction="noise")
    root = assert_harmless(found._repr_html_())
    colours = {
        element.attributes["data-ne-node"]: element.attributes["bgcolor"]
        for element in root.find("td")
        if "data-ne-node" in element.attributes
    }
    assert colours["L0START@0"] == "#ffffff"
    assert colours["L0START@6"] != "#ffffff"


def test_estimates_show_how_well_they_were_checked(model: ne.ModelContext) -> None:
    found = ne.patch(model, CLEAN, CORRUPTED, (" the", " her"), at="heads", method="gradient", check=6)
    html = found._repr_html_()
    assert "Estimates checked" in html
    assert f"rank correlation {found.spearman:.2f}" in html
    assert "Estimates checked" not in ne.patch(model, CLEAN, CORRUPTED, (" the", " her"), at="heads")._repr_html_()


def test_the_figure_has_tokens_on_its_axis(model: ne.ModelContext) -> None:
    found = ne.patch(model, CLEAN, CORRUPTED, (" the", " her"))
    figure = found.figure()
    assert list(figure.layout.xaxis.ticktext)[-1] == "·Moses / ·David"
    assert list(figure.layout.yaxis.ticktext) == ["0", "1", "2", "3"]
    z = np.array(figure.data[0].z)
    assert z.shape == (4, 7)
    assert z[0, 6] == pytest.approx(1.0, abs=1e-5)
    heads = ne.patch(model, CLEAN, CORRUPTED, (" the", " her"), at="heads")
    z = np.array(heads.figure().data[0].z)
    assert z[1, 3] == pytest.approx(heads.scores[heads.names.index("L3H1")])


def test_of_many_components_the_strongest_are_shown() -> None:
    nodes = [PatchedNode(layer, None, component) for layer in range(2) for component in range(100)]
    scores = [0.01 * component if layer else 0.0 for layer in range(2) for component in range(100)]
    found = made(["a", "b"], ("layer", "neuron"), nodes, scores)
    shown = map_of_patches(found, 5, 24)
    assert list(shown.rows) == [95, 96, 97, 98, 99]
    assert shown.note == "the strongest 5 of 100 neurons"
    assert found.nodes[shown.cells[97, (1, None)]] == PatchedNode(1, None, 97)
    assert len(found.top(3)) == 3


def test_of_a_long_prompt_the_tokens_around_the_strongest_are_shown() -> None:
    nodes = [PatchedNode(0, position, head) for position in range(50) for head in range(30)]
    scores = [1.0 if (node.position, node.component) == (40, 7) else -0.001 * (node.component or 0) for node in nodes]
    found = made([f"t{number}" for number in range(50)], ("layer", "head", "position"), nodes, scores)
    shown = map_of_patches(found, 10, 4)
    assert 40 in shown.rows
    assert len(shown.rows) == 10
    assert shown.column_labels == ["0:7", "0:27", "0:28", "0:29"]
    assert "positions 35–44 of 50" in shown.note


def test_hostile_tokens_are_text() -> None:
    nodes = [PatchedNode(0, position, None) for position in range(len(HOSTILE_TOKENS))]
    scores = [0.1 * position for position in range(len(HOSTILE_TOKENS))]
    scores[3] = float("nan")
    found = made(HOSTILE_TOKENS, ("layer", "position"), nodes, scores)
    assert_harmless(found._repr_html_())
    labels = "".join(found.figure().layout.xaxis.ticktext)
    assert "<" not in labels
    assert "$" not in labels
    assert found.names[found.strongest[-1]] == str(nodes[3])  # what is not a number comes last


def test_maps_name_their_rows_and_columns(model: ne.ModelContext) -> None:
    for at, by, rows, columns in (
        ("resid", None, "token ↓", "layer →"),
        ("heads", None, "head ↓", "layer →"),
        ("heads", ("layer", "head", "position"), "token ↓", "layer:head →"),
        ("heads", ("layer",), "", "layer →"),
    ):
        found = ne.patch(model, CLEAN, CORRUPTED, (" the", " her"), at=at, by=by)
        corner = assert_harmless(found._repr_html_()).find("th")[3].text  # after those of the two runs
        assert corner == f"{columns}{rows}"  # on two lines
        axes = {found.figure().layout.xaxis.title.text, found.figure().layout.yaxis.title.text}
        assert axes == {rows.removesuffix(" ↓"), columns.removesuffix(" →")}


def test_nodes_that_change_nothing_are_not_among_the_strongest() -> None:
    nodes = [PatchedNode(0, position, None) for position in range(4)]
    html = made(["a", "b", "c", "d"], ("layer", "position"), nodes, [1.0, -1e-7, 0.0, 0.5])._repr_html_()
    table = html.split("Strongest nodes", 1)[1]
    assert table.count("data-ne-node") == 2
    assert "e−0" not in html.split("ne-legend", 1)[1].split("</div>")[0]  # rounding is no end of the scale
    none = made(["a", "b"], ("layer", "position"), nodes[:2], [0.0, 0.0])._repr_html_()
    assert none.split("Strongest nodes", 1)[1].count("data-ne-node") == 1


def test_several_pairs_are_told_in_words(model: ne.ModelContext) -> None:
    metrics = [(" the", " her"), (" her", " the")]
    found = ne.patch(model, [CLEAN, CORRUPTED], [CORRUPTED, CLEAN], metrics, at="heads")
    text = assert_harmless(found._repr_html_()).text
    assert "metric: logit of the target minus that of the distractor; means of 2 pairs" in text
    assert "the first of 2 pairs" in text
    assert "score std" in text
    by_function = ne.patch(model, [CLEAN], [CORRUPTED], lambda logits: logits[-1, 3], at="mlp")
    assert by_function.request.title == "a function of the logits"
    one = ne.patch(model, [CLEAN], [CORRUPTED], metrics[:1], at="heads")
    text = assert_harmless(one._repr_html_()).text
    assert "of 1 pair" not in text
    assert "score std" not in text


def test_an_answer_without_its_leading_space_is_told(model: ne.ModelContext) -> None:
    html = ne.patch(model, CLEAN, CORRUPTED, ("the", " her"), at="mlp")._repr_html_()
    assert "&#x27;the&#x27; has no leading space" in html
    assert "leading space" not in ne.patch(model, CLEAN, CORRUPTED, (" the", " her"), at="mlp")._repr_html_()
    paths = ne.path_patch(model, CLEAN, CORRUPTED, ("the", " her"), "mlps", "logits")
    assert "&#x27;the&#x27; has no leading space" in paths._repr_html_()


def test_of_many_alternatives_two_are_named(model: ne.ModelContext) -> None:
    answers = ([" the", " a", " his", " their", " all"], [" her", " him"])
    title = ne.patch(model, CLEAN, CORRUPTED, answers, at="mlp").request.title
    assert title == "logit of ' the' or ' a' or 3 more minus that of ' her' or ' him'"
