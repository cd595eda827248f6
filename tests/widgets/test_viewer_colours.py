"""A live viewer: the whole text in order, the model as it is, and colours that mean the same on every text."""

import html
import re

import pytest
import torch

from neuron_explainer import NeuronViewer, load_model
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice

LONG = " ".join(f"And the LORD said unto Moses, {number}." for number in range(120))


@pytest.fixture(scope="module")
def tiny() -> StandardModelContext:
    return load_model("tiny")


@pytest.fixture(autouse=True)
def two_datasets() -> None:
    """Here the registry is the real one."""


def _own(viewer: NeuronViewer, text: str) -> str:
    viewer.own_text.text.value = text
    viewer.own_text.compute.click()
    assert viewer.wait(60)
    assert viewer.error is None
    return viewer.own_text.view.value


def _text_of(page: str) -> str:
    elements = re.findall(r'<bdi[^>]* title="[^"]*">(.*?)</bdi>', page)
    plain = html.unescape(re.sub(r"<[^>]+>", "", "".join(elements)))
    return plain.replace("·", " ").replace("↵", "\n")


def _colour_by_value(page: str) -> dict[str, str]:
    found = re.findall(r'<bdi(?: style="background-color:(#\w+)[^"]*")? title="[^"]* · ([^"·]+)">', page)
    return {value: colour for colour, value in found}


@pytest.mark.parametrize("of", ["model", "dataset"])
def test_a_long_text_is_whole_in_order_and_once(tiny: StandardModelContext, of: str) -> None:
    if of == "model":
        page = NeuronViewer(tiny, 1, 5, texts=LONG).to_html()
        assert "ne-record" in page
    else:
        page = _own(NeuronViewer("tiny", 1, 5), LONG)
    assert len(tiny.encode(LONG)) > tiny.max_context_length
    assert _text_of(page).removeprefix("<s>").replace("<|endoftext|>", "") == LONG
    assert "not shown" not in page
    assert "Random examples" not in page


def test_colours_stay_from_text_to_text(tiny: StandardModelContext) -> None:
    viewer = NeuronViewer(tiny, 1, 5, texts=LONG)
    before = _colour_by_value(viewer.to_html())
    assert "the values on the texts so far" in viewer.to_html()
    viewer.own_text.text.value = "And the LORD said unto Moses, 0. The end"
    viewer.own_text.compute.click()
    assert viewer.wait(60)
    after = _colour_by_value(viewer.to_html())
    shared = set(before) & set(after)
    assert len(shared) > 3
    assert {value: before[value] for value in shared} == {value: after[value] for value in shared}


def test_ones_own_text_has_the_colours_of_the_record(tiny: StandardModelContext) -> None:
    viewer = NeuronViewer("tiny", 1, 5)
    legend = re.compile(r'class="ne-legend".*?</div>')
    recorded = legend.search(viewer.to_html())
    assert recorded is not None
    for text in ("And the LORD said", LONG):
        own = legend.search(_own(viewer, text))
        assert own is not None
        ends = [re.sub(r"<[^>]+>", "", found[0]).split(" · ")[0].split(">")[-1] for found in (own, recorded)]
        assert ends[0].split() == ends[1].split()


def test_a_viewer_computes_the_model_as_it_is(tiny: StandardModelContext) -> None:
    viewer = NeuronViewer(tiny, 1, 0, texts=["The quick brown fox jumps over the lazy dog"])
    assert viewer.record is not None
    want = viewer.record
    transformer = tiny.get_or_create_model()
    with (
        transformer.intervene(ActivationLocationType.RESID_POST_MLP, 0, lambda values: values * 0),
        transformer.record([(ActivationLocationType.MLP_POST_ACT, 1)]) as recorded,
    ):
        transformer(tiny.to_tokens("And the"))
        shape = recorded[ActivationLocationType.MLP_POST_ACT, 1].shape
        viewer.controls.neuron.value = 1
        assert viewer.wait(60)
        viewer.controls.neuron.value = 0
        assert viewer.wait(60)
        assert recorded[ActivationLocationType.MLP_POST_ACT, 1].shape == shape
    assert viewer.error is None
    for one, other in zip(
        want.most_positive_activation_records, viewer.record.most_positive_activation_records, strict=True
    ):
        assert torch.equal(torch.tensor(one.activations), torch.tensor(other.activations))


def test_the_size_is_unchanged_where_the_layer_exists() -> None:
    choice = NeuronChoice("x", "mlp_post_act", 2, 0)  # type: ignore[arg-type]
    assert DatasetSize(range(4), None).with_layer(choice) is choice
