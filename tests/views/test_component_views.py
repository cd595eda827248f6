"""The views of a component's statistics and of those of a dataset."""

import numpy as np
import pytest

import neuron_explainer as ne
from benchmarks.small_models import small_context
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless, read_html
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord, save_neuron
from neuron_explainer.components.statistics.of_dataset import dataset_statistics
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.attention import attention_section
from neuron_explainer.views.components.dataset_scatter import plot_dataset_statistics


@pytest.mark.parametrize("node", ["L2N5", "L0H1"])
def test_statistics_as_html(node):
    statistics = ne.component("tiny", node).statistics
    html = statistics._repr_html_()
    assert_harmless(html)
    assert ("How far back" in html) == (node == "L0H1")


def test_attention_on_a_long_text_is_sparse():
    n, strongest = 1_200, (1_100, 7)
    pairs = np.zeros((n, n))
    pairs[strongest] = 2.0
    pairs[1_150, 1_100] = 1.0
    example = ActivationRecord([f" t{number}" for number in range(n)], pairs[np.tril_indices(n)].tolist())
    html = attention_section(example, 1_100, ColourScale(0.0, 2.0))
    assert len(html) < 300_000
    text = assert_harmless(html).text
    attends, attended = text.split("These attend to")
    assert "·t7·t8" in attends  # around what it attends to most
    assert "·t1150·t1151" in attended
    assert "·t1150 1150 attends to ·t1100 1100" in text.replace("\N{NO-BREAK SPACE}", " ")


def test_hostile_tokens_stay_texts(tmp_path):
    values = [float(number + 1) for number in range(len(HOSTILE_TOKENS))]
    record = NeuronRecord(
        NeuronId(0, 0), mean=1.0, most_positive_activation_records=[ActivationRecord(HOSTILE_TOKENS, values)]
    )
    save_neuron(tmp_path, record)
    assert_harmless(ne.component(tmp_path, "L0N0").statistics._repr_html_())
    figure = plot_dataset_statistics(dataset_statistics(tmp_path, progress=False), "max", "mean")
    assert_harmless(figure._snapshot)


def test_the_scatter_has_a_point_for_each_component():
    frame = dataset_statistics("tiny")
    figure = plot_dataset_statistics(frame, log_x=False)
    np.testing.assert_array_equal(figure.data[0].x, frame["frequency"])
    np.testing.assert_array_equal(figure.data[0].y, frame["max"])
    assert figure.data[0].customdata[0].startswith("L0N0")
    with pytest.raises(ne.errors.UnknownNameError):
        plot_dataset_statistics(frame, "name")


# The page of a component


def headings(html: str) -> list[str]:
    return [each.text for each in read_html(html).find("b") if each.attributes.get("role") == "heading"]


NEURON_SECTIONS = [
    "What it writes",
    "What it reads",
    "Tokens by mean activation",
    "Where in a text",
    "Quantiles",
    "Neighbours by what they write",
    "Neighbours by what they read",
]
HEAD_SECTIONS = ["What it attends to" if each == "What it reads" else each for each in NEURON_SECTIONS]
HEAD_SECTIONS.insert(5, "How far back")


@pytest.mark.parametrize(("node", "sections"), [("L1N355", NEURON_SECTIONS), ("L1H2", HEAD_SECTIONS)])
def test_the_page_has_all_that_is_at_hand(node, sections, tmp_path):
    component = ne.component("tiny", node)
    html = component._repr_html_()
    assert headings(html) == sections
    page = assert_harmless(html)
    for table in (component.writes(8), component.neighbours(6)):
        for value in table.iloc[:3, 0]:
            assert value.strip() in page.text
    assert len(html) < 250_000
    component.save_html(tmp_path / "page.html")
    assert "default-src 'none'" in (tmp_path / "page.html").read_text()


def test_the_page_of_a_model_s_component_says_that_it_lacks_a_dataset():
    component = ne.component(ne.load_model("tiny", device="cpu"), "L1N355")
    html = component.to_html()
    assert headings(html) == [
        "What it writes",
        "What it reads",
        "Statistics and examples",
        "Neighbours by what they write",
        "Neighbours by what they read",
    ]
    assert html.count("no dataset is at hand: pass dataset=") == 1


def test_the_page_without_a_model_or_a_network_says_why(monkeypatch, tmp_path):
    record = NeuronRecord(NeuronId(0, 3), most_positive_activation_records=[ActivationRecord(["a", "b"], [0.5, 1.0])])
    save_neuron(tmp_path, record)
    html = ne.component(tmp_path, "L0N3", dst="mlp_post_act").to_html()
    assert html.count("no model is at hand: pass model=") == 1
    assert "Top activations" in html
    missing = ne.component(tmp_path, "L0N4", dst="mlp_post_act").to_html()
    assert assert_harmless(missing).text.count("has no neuron") + missing.count("has no file") >= 1


def test_hostile_tokens_on_the_page(tmp_path):
    context = small_context("llama")
    strings = [*HOSTILE_TOKENS, *(f"t{number}" for number in range(61))][:61]
    monkey = dict(enumerate(strings))
    node = ne.component(context, "L1N3")
    object.__setattr__(context, "decode_token_list", lambda ids: [monkey[int(each)] for each in ids])
    assert_harmless(node.to_html())
    assert_harmless(ne.component(context, "L1H2").to_html())


def test_scores_of_heads_as_maps():
    scores = ne.head_scores("tiny", n_sequences=2, length=8, progress=False)
    html = scores._repr_html_()
    assert html is not None
    maps, table = html.split("</section>")
    assert_harmless(maps + "</section>")
    assert headings(maps + "</section>") == ["previous", "duplicate", "induction", "first", "copying"]
    cells = [each for each in read_html(maps + "</section>").find("td") if "data-ne-node" in each.attributes]
    assert [each.attributes["data-ne-node"] for each in cells[:4]] == ["L0H0", "L1H0", "L2H0", "L3H0"]
    assert "L3H3" in table
    figure = ne.plot_heads(scores, "previous")
    np.testing.assert_array_equal(figure.data[0].z.T.flatten(), scores["previous"])
    assert "<table" in figure._snapshot
    assert "<section" not in (scores[["name", "previous"]].head(2)._repr_html_() or "")
    with pytest.raises(ne.errors.UnknownNameError):
        ne.plot_heads(scores, "prevoius")
    with pytest.raises(ne.errors.InvalidRequestError, match="not a table of heads"):
        ne.plot_heads(scores[["previous"]], "previous")
