"""A viewer of any dataset with any model, of a model by name, of live latents; its own texts in pages; its code."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders
from neuron_explainer.collation.runs import preparation  # noqa: F401 - before load_model is replaced
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, UnknownDatasetError
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

LONG = " ".join(f"And the LORD said unto Moses, {number}." for number in range(700))


@pytest.fixture(autouse=True)
def two_datasets() -> None:
    """Here the registry is the real one."""


@pytest.fixture(scope="module")
def tiny() -> StandardModelContext:
    return ne.load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def latents(tiny: StandardModelContext) -> AutoencoderContext:
    """Of the MLPs' neurons, in all layers."""
    return random_autoencoders(tiny, DerivedScalarType.MLP_POST_ACT, dtype=torch.float32, n_latents=16)


def _words(page: str) -> str:
    elements = re.findall(r'<bdi[^>]* title="[^"]*">(.*?)</bdi>', page)
    return html.unescape(re.sub(r"<[^>]+>", "", "".join(elements))).replace("·", " ")


def test_a_name_that_is_both_means_the_dataset_and_model_forces_the_other() -> None:
    assert ne.NeuronViewer("tiny").record is not None
    assert ne.NeuronViewer().dataset == "tiny"
    of_model = ne.NeuronViewer(model="tiny")
    assert of_model.record is None
    of_model.compute("And the LORD")
    assert of_model.record is not None
    assert len(of_model.record.most_positive_activation_records) == 1


def test_a_models_name_means_the_model(
    tmp_path: Path, tiny: StandardModelContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(name: Any) -> StandardModelContext:
        asked.append(name)
        return tiny

    monkeypatch.setattr("neuron_explainer.models.checkpoints.load_model.load_model", load)
    viewer = ne.NeuronViewer("smollm2-135m", "L1N5", texts="And the LORD")
    assert asked == ["smollm2-135m"]
    assert viewer.record is not None
    (tmp_path / "config.json").write_text("{}")
    ne.NeuronViewer(tmp_path, texts="And")
    assert asked[-1] == tmp_path
    with pytest.raises(UnknownDatasetError):
        ne.NeuronViewer("no-such-thing")
    with pytest.raises(InvalidRequestError, match="and model= gives another"):
        ne.NeuronViewer(tiny, model=tiny)
    with pytest.raises(NotAtHandError, match="pass model="):
        ne.NeuronViewer("tiny", autoencoders=[])


def test_a_dataset_of_ones_own_with_its_model(tmp_path: Path, tiny: StandardModelContext) -> None:
    ne.collate(tiny, ["And the LORD said unto Moses"] * 3, tmp_path / "mine", layers=[1], progress=False)
    alone = ne.NeuronViewer(tmp_path / "mine", "L1N5")
    assert alone.own_text.layout.display == "none"
    viewer = ne.NeuronViewer(tmp_path / "mine", "L1N5", model=tiny)
    assert viewer.own_text.layout.display == ""
    viewer.compute("And the LORD said")
    assert viewer.error is None
    own = ne.component(tiny, "L1N5").activations("And the LORD said")
    frame = viewer.to_dataframe()
    assert frame["activation"].tolist() == own["activation"].tolist()
    viewer.open_section("directions")
    assert viewer.error is None


def test_live_latents(tiny: StandardModelContext, latents: AutoencoderContext) -> None:
    viewer = ne.NeuronViewer(tiny, "L1A3", autoencoders=latents, texts="And the LORD said unto Moses")
    assert viewer.error is None
    assert viewer.controls.choice.dst is DerivedScalarType.MLP_AUTOENCODER_LATENT
    assert viewer.record is not None
    config = ne.DstConfig(model_context=tiny, autoencoder_context=latents)
    expected = ne.component(config, "L1A3").activations("And the LORD said unto Moses")
    (example,) = viewer.record.most_positive_activation_records
    assert list(example.activations) == expected["activation"].tolist()
    assert viewer.controls.size.n_components == 16
    assert list(viewer.controls.size.layers or ()) == [0, 1, 2, 3]
    again = ne.NeuronViewer(config, "L1A3", texts="And the LORD said unto Moses")
    assert again.record == viewer.record
    viewer.open_section("directions")
    assert viewer.error is None
    viewer.controls.next.click()
    assert viewer.wait(60)
    assert viewer.error is None


@pytest.mark.parametrize("node", ["L1N355", "L1H1"])
def test_pages_of_many_texts_stay_small(node: str) -> None:
    viewer = ne.NeuronViewer("tiny", node)
    for texts in (["hi there"] * 900, ["\u202e\u200b\x00" * 900], ["And the LORD said unto Moses " * 500]):
        viewer.compute(texts)
        sizes = [len(viewer._texts.page(number).encode()) for number in range(viewer._texts.n_pages)]
        assert len(sizes) > 1
        assert max(sizes) < 300_000


def test_long_texts_are_on_pages_whole_in_order_and_once(tiny: StandardModelContext) -> None:
    assert len(tiny.encode(LONG)) > 7_000
    for viewer in (ne.NeuronViewer(tiny, "L1N5", texts=LONG), ne.NeuronViewer("tiny", "L1N5")):
        viewer.compute(LONG)
        assert viewer.error is None
        view = viewer._view if viewer.record is viewer._texts.record else viewer.own_text.view
        pages = viewer.own_text.pages
        assert pages.layout.display == ""
        assert pages.previous.disabled
        seen = [_words(view.value)]
        while not pages.next.disabled:
            assert len(view.value) < 1_000_000
            pages.next.click()
            seen.append(_words(view.value))
        assert len(seen) > 3
        assert "".join(seen).replace("<|endoftext|>", "") == LONG
        pages.previous.click()
        assert _words(view.value) == seen[-2]
        assert viewer.own_text.pages.said.value == f"page {len(seen) - 1} of {len(seen)}"
        viewer.compute("And the LORD")
        assert pages.layout.display == "none"


def test_a_text_on_each_line() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N5")
    viewer.own_text.text.value = "And the LORD\n\nsaid unto Moses"
    viewer.own_text.by_line.value = True
    viewer.own_text.compute.click()
    assert viewer.wait(60)
    assert viewer._texts.record is not None
    texts = ["".join(each.tokens) for each in viewer._texts.record.most_positive_activation_records]
    assert [text.replace("<|endoftext|>", "") for text in texts] == ["And the LORD", "said unto Moses"]
    viewer.compute(["one", "two"])
    assert viewer.own_text.by_line.value
    assert viewer.own_text.texts == ("one", "two")
    viewer.compute("one text\nof two lines")
    assert viewer.own_text.texts == ("one text\nof two lines",)
    viewer.compute(["one text\nof two lines", "another"])
    assert viewer.own_text.texts == ("one text\nof two lines", "another")
    with pytest.raises(InvalidRequestError):
        viewer.compute([3])  # type: ignore[list-item]
    with pytest.raises(InvalidRequestError, match="texts is 3"):
        viewer.compute(3)  # type: ignore[arg-type]


def test_the_code_opens_the_page_again(tmp_path: Path, tiny: StandardModelContext) -> None:
    ne.collate(tiny, ["And the LORD said unto Moses"] * 3, tmp_path / "mine", layers=[1], progress=False)
    viewer = ne.NeuronViewer(tmp_path / "mine", "L1N5", model=tiny)
    viewer.compute(["And the LORD", "said"])
    viewer.open_section("neighbours")
    names: dict[str, Any] = {}
    exec(viewer.code, names)
    again = names["viewer"]
    assert again.wait(60)
    assert again.error is None
    assert again.to_html() == viewer.to_html()
    assert again.code == viewer.code


def test_traits_change_when_the_new_record_is_on_view() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N5")
    seen: list[Any] = []

    def note(change: dict[str, Any]) -> None:
        seen.append((change["name"], viewer.dataset, viewer.node, viewer.record.neuron_id if viewer.record else None))

    viewer.observe(note, ["dataset", "node", "record"])
    viewer.show("L2H3")
    assert {name for name, *_ in seen} == {"node", "record"}
    assert {(node.tensor_indices[-1], found.neuron_index) for _, _, node, found in seen} == {(3, 3)}
