"""A neuron's page, its statistics and histogram, and the plots."""

import copy
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless
from helpers.neuron_records import neuron_record
from neuron_explainer.activations.activations import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.components.statistics.histograms import histogram_of
from neuron_explainer.errors import InvalidRequestError, UnknownNameError
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.heatmap import token_heatmap
from neuron_explainer.views.plots import plot_example, plot_histogram
from neuron_explainer.views.record_page import record_document, record_title, record_to_html
from neuron_explainer.views.statistics import statistics_of
from neuron_explainer.views.token_pairs import pair_view
from neuron_explainer.views.token_text import token_label
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

HISTOGRAM = Histogram(edges=[-2.0, -1.0, 0.0, 1.0, 21.0, 30.0, 40.0], counts=[0, 10, 0, 1000, 0, 0])


def _bars(root: Element) -> list[Element]:
    return [bar for bar in root.find("div", "ne-histogram")[0].find("div") if "flex" in bar.style]


def test_a_page_has_every_part_in_order() -> None:
    page = record_to_html(neuron_record(), dst=DerivedScalarType.MLP_POST_ACT, dataset="gpt2-small")
    text = assert_harmless(page).text
    parts = ["Layer 3, neuron 7", "gpt2-small", "mlp_post_act", "Top activations", "Quantile 2 of 2", "Quantile 1 of 2"]
    places = [text.index(part) for part in [*parts, "Random examples"]]
    assert places == sorted(places)


def test_how_many_examples_are_shown() -> None:
    root = assert_harmless(record_to_html(neuron_record(), examples=8))
    assert len(root.find("div", "ne-example")) == 8 + 2 + 2 + 4
    assert "8 of 20" in root.text
    assert "4 of 6" in root.text
    assert len(assert_harmless(record_to_html(neuron_record(), examples=40)).find("div", "ne-example")) == 20 + 4 + 6
    with pytest.raises(InvalidRequestError, match="examples is 0"):
        record_to_html(neuron_record(), examples=0)
    with pytest.raises(InvalidRequestError, match="dataset must be of type str, not int"):
        record_to_html(neuron_record(), dataset=5)  # type: ignore[arg-type]


def test_one_scale_for_all_examples() -> None:
    record = NeuronRecord(
        NeuronId(0, 0),
        most_positive_activation_records=[ActivationRecord(["top"], [4.0])],
        random_sample=[ActivationRecord(["random"], [2.0])],
        random_sample_by_quantile=[[ActivationRecord(["quantile"], [-1.0])]],
    )
    scale = ColourScale(-1.0, 4.0)
    colours = {
        token.text: token.style["background-color"] for token in assert_harmless(record_to_html(record)).find("bdi")
    }
    assert colours == {
        "top": scale.background(4.0),
        "random": scale.background(2.0),
        "quantile": scale.background(-1.0),
    }


def test_only_known_statistics_are_shown() -> None:
    record = replace(neuron_record(), activation_frequency=0.125)
    statistics = statistics_of(record)
    assert statistics.pop("max activation") == record.max_activation
    assert statistics == {
        "mean": 0.125,
        "standard deviation": pytest.approx(math.sqrt(2.5)),
        "skewness": -0.5,
        "kurtosis": 3.25,
        "active on": 0.125,
    }
    assert "12.50% of tokens" in record_to_html(record)
    assert statistics_of(NeuronRecord(NeuronId(0, 0))) == {}


def test_the_records_histogram_is_shown() -> None:
    record = replace(neuron_record(), histogram=HISTOGRAM)
    root = assert_harmless(record_to_html(record))
    bars = _bars(root)
    assert [bar.attributes["title"] for bar in bars] == [
        "−1 to 0: 10 tokens in the corpus",
        "0 to 1: 0 tokens in the corpus",
        "1 to 21: 1,000 tokens in the corpus",
    ]  # and no empty bins at the ends
    heights = [int(bar.style["height"].removesuffix("px")) for bar in bars]
    assert heights == [round(72 * math.log(11) / math.log(1001)), 0, 72]
    assert "1,010 tokens in the corpus" in root.text


def test_without_a_histogram_the_random_examples_are_counted() -> None:
    record = neuron_record()
    shown = histogram_of(record)
    assert shown is not None
    values = [value for example in record.random_sample for value in example.activations]
    assert sum(shown.histogram.counts) == len(values)
    assert (shown.histogram.edges[0], shown.histogram.edges[-1]) == (min(values), max(values))
    assert shown.counted == "tokens in 6 random examples"
    assert histogram_of(replace(record, random_sample=[])) is None


@pytest.mark.parametrize("window", [None, 3])
def test_pages_by_token_pair(window: int | None) -> None:
    record = neuron_record(by_pair=True, window=window)
    root = assert_harmless(record_to_html(record, dst=DerivedScalarType.ATTN_WRITE_NORM))
    assert "Layer 3, attention head 7" in root.text
    assert "one activation per token pair" in root.text
    assert len(root.find("table")) == 1
    assert len(root.find("span", "ne-pair")) >= 8


@pytest.mark.parametrize(
    ("dst", "name"),
    [
        (None, "Layer 3, neuron 7"),
        (DerivedScalarType.MLP_POST_ACT, "Layer 3, neuron 7"),
        (DerivedScalarType.ATTN_WRITE_NORM, "Layer 3, attention head 7"),
        (DerivedScalarType.MLP_AUTOENCODER_LATENT, "Layer 3, latent 7"),
        (DerivedScalarType.RESID_POST_MLP, "Layer 3, component 7"),
    ],
)
def test_names(dst: DerivedScalarType | None, name: str) -> None:
    assert record_title(neuron_record(), dst) == name


def test_the_derived_scalar_type_by_name() -> None:
    record = neuron_record()
    by_member = record_document(record, dst=DerivedScalarType.MLP_POST_ACT)
    assert record_document(record, dst="MLP_POST_ACT") == by_member
    with pytest.raises(UnknownNameError, match="mlp_post_act"):
        record_to_html(record, dst="mlp_post")


def test_an_empty_record_has_a_page() -> None:
    text = assert_harmless(record_to_html(NeuronRecord(NeuronId(1, 2)))).text
    assert "Layer 1, neuron 2" in text
    assert "This record has no examples." in text
    empty = ActivationRecord([], [])
    page = record_to_html(NeuronRecord(NeuronId(1, 2), most_positive_activation_records=[empty]))
    assert "no tokens" in assert_harmless(page).text


def test_hostile_text_is_escaped() -> None:
    values = [float(place) for place in range(len(HOSTILE_TOKENS))]
    record = NeuronRecord(NeuronId(0, 0), most_positive_activation_records=[ActivationRecord(HOSTILE_TOKENS, values)])
    root = assert_harmless(record_to_html(record, dataset="<script>window.pwned=1</script>"))
    assert "<script>window.pwned=1</script>" in root.text
    assert [token.text for token in root.find("bdi")] == [token_label(token) for token in HOSTILE_TOKENS]


def test_a_notebook_shows_the_page() -> None:
    record = neuron_record()
    assert record._repr_html_() == record_to_html(record)
    for example in (record.random_sample[0], ActivationRecord(["a", "b"], [1.0, 2.0, 3.0]), ActivationRecord([], [])):
        view = pair_view(example) if example.is_by_token_pair else token_heatmap(example.tokens, example.activations)
        assert example._repr_html_() == view
    assert record_document(record).count("<section") == 1


def test_pages_have_no_colour_without_a_ground_of_their_own() -> None:
    card = assert_harmless(record_to_html(neuron_record())).find("section", "ne-card")[0]
    assert card.style["background-color"] == "#ffffff"
    assert card.style["color"] == "#1f2328"


def test_looking_at_a_record_imports_neither_torch_nor_widgets_nor_plotly() -> None:
    code = (
        "import sys\n"
        "from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord\n"
        "record = NeuronRecord(NeuronId(0, 0), random_sample=[ActivationRecord(['a'], [1.0])])\n"
        "assert 'neuron 0' in record._repr_html_()\n"
        "print(sorted({'torch', 'ipywidgets', 'plotly', 'IPython', 'pandas'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


# Plots


def test_the_histogram_plot_is_the_records() -> None:
    figure = plot_histogram(replace(neuron_record(), histogram=HISTOGRAM))
    assert list(figure.data[0].y) == [10, 0, 1000]
    assert list(figure.data[0].x) == [-0.5, 0.5, 11.0]
    assert list(figure.data[0].width) == [1.0, 1.0, 20.0]
    assert [line.x0 for line in figure.layout.shapes] == [0.25, 1.5]
    with pytest.raises(InvalidRequestError, match="no histogram"):
        plot_histogram(NeuronRecord(NeuronId(0, 0)))


def test_example_plots_escape_tokens() -> None:
    bars = plot_example(ActivationRecord(["<b>", " a"], [1.0, -2.0]))
    assert list(bars.data[0].y) == [1.0, -2.0]
    assert list(bars.layout.xaxis.ticktext) == ["&lt;b&gt;", "·a"]
    matrix = plot_example(ActivationRecord(["<b>", " a"], [1.0, -2.0, 0.5]))
    assert isinstance(matrix.data[0], go.Heatmap)
    assert matrix.data[0].z[1].tolist() == [-2.0, 0.5]
    assert math.isnan(matrix.data[0].z[0][1])
    assert (matrix.data[0].zmin, matrix.data[0].zmax) == (-2.0, 1.0)
    colours = [colour for _, colour in matrix.data[0].colorscale]
    scale = ColourScale(-2.0, 1.0)
    assert (colours[0], colours[-1]) == (scale.background(-2.0), scale.background(1.0))
    with pytest.raises(InvalidRequestError, match="no tokens"):
        plot_example(ActivationRecord([], []))


def test_a_plot_leaves_static_html_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    monkeypatch.setattr("plotly.io.renderers.default", "plotly_mimetype")
    example, by_pair = (neuron_record(by_pair=flag).most_positive_activation_records[0] for flag in (False, True))
    record = replace(neuron_record(), histogram=HISTOGRAM)
    for figure, says in (
        (plot_histogram(record), "1,000 tokens in the corpus"),
        (plot_example(example), token_label(example.tokens[0])),
        (plot_example(by_pair), "attends to"),
    ):
        figure._ipython_display_()
        bundle = shown.pop()
        assert bundle.keys() == {"application/vnd.plotly.v1+json", "text/html"}
        assert says in bundle["text/html"]
        assert_harmless(bundle["text/html"])
        assert copy.deepcopy(figure) == figure


def test_a_record_knows_what_its_component_is(tmp_path: Path) -> None:
    texts = ["In the beginning God created"]
    head = ne.live_record("tiny", 1, 2, texts, "attn_write_norm")
    assert "Layer 1, attention head 2" in head._repr_html_()
    assert "Layer 1, neuron 2" in ne.live_record("tiny", 1, 2, texts)._repr_html_()
    stored = ne.load_neuron("tiny", 1, 2, "attn_write_norm")
    assert stored.dst is ne.DerivedScalarType.ATTN_WRITE_NORM
    assert "attention head 2" in stored._repr_html_()
    assert "attention head 2" in ne.plot_histogram(stored).layout.title.text
    ne.save_neuron(tmp_path, ne.live_record("tiny", 1, 2, texts))
    assert ne.load_neuron(tmp_path, 1, 2).dst is None  # a file of its own does not say
    assert ne.load_neuron(tmp_path, 1, 2, "mlp_autoencoder_latent").dst is ne.DerivedScalarType.MLP_AUTOENCODER_LATENT
    assert "latent 2" in ne.load_neuron(tmp_path, 1, 2, "mlp_autoencoder_latent")._repr_html_()
    assert replace(stored, dst=None) == stored
