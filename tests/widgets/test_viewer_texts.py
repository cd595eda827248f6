"""A viewer of a model, the user's own text, and a folder in place of a dataset's name."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from helpers.collation_models import begun_context, model_context
from helpers.neuron_records import neuron_record
from helpers.viewers import HEADS, MLP, FakeLoader, shown
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, register_neuron_dataset_metadata
from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.errors import InvalidRequestError, NeuronNotFoundError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.widgets.neuron_viewer import NeuronViewer


class FakeModel(SimpleNamespace):
    model_name = "my-model"
    n_layers = 3

    def get_dim_size(self, dimension: object) -> int:
        return 4


def test_a_model_in_place_of_a_dataset(live: list[Any]) -> None:
    model: Any = FakeModel()
    viewer = NeuronViewer(model)
    assert viewer.record is None
    assert "Write a text" in viewer.status.value
    viewer.own_text.compute.click()
    assert viewer.record is None
    assert live == []
    viewer.own_text.text.value = "hello there"
    viewer.own_text.compute.click()
    assert viewer.wait(10)
    assert live == [(model, 0, 0, ["hello there"], MLP)]
    assert "hello" in viewer.to_html()
    viewer.controls.next.click()
    assert viewer.wait(10)
    assert live[-1] == (model, 0, 1, ["hello there"], MLP)
    with pytest.raises(InvalidRequestError, match="neurons: 0–3"):
        viewer.show(neuron=4)


def test_a_model_with_texts_shows_at_once(live: list[Any]) -> None:
    model: Any = FakeModel()
    viewer = NeuronViewer(model, 2, 3, HEADS, texts=["one text", "another"])
    assert live == [(model, 2, 3, ["one text", "another"], HEADS)]
    assert viewer.record is not None
    NeuronViewer(model, texts="one text alone")
    assert live[-1][3] == ["one text alone"]


@pytest.mark.parametrize(
    ("context", "prepend_bos", "begins"),
    [
        (begun_context, None, "w9"),
        (begun_context, False, ""),
        (model_context, None, ""),
        (model_context, True, "w1"),
    ],
)
def test_a_text_that_begins_with_a_token_of_the_models_says_so(
    context: Callable[[], StandardModelContext], prepend_bos: bool | None, begins: str
) -> None:
    model = context()
    viewer = NeuronViewer(model, 1, 2, texts="w3 w4", prepend_bos=prepend_bos)
    said = f"Each text begins with <bdi>{begins}</bdi>, which was put before it (prepend_bos=False: without)."
    assert (said in viewer.to_html()) == bool(begins)
    assert ("ne-beginning" in viewer.to_html()) == bool(begins)
    assert viewer.record is not None
    (example,) = viewer.record.most_positive_activation_records
    assert example.tokens == [*([begins] if begins else []), "w3", "w4"]
    with pytest.raises(InvalidRequestError, match="prepend_bos is 'no'"):
        NeuronViewer(model, prepend_bos=cast("Any", "no"))


def test_arguments_that_need_a_model_or_a_dataset(load: FakeLoader) -> None:
    model: Any = FakeModel()
    with pytest.raises(InvalidRequestError, match="are for a model"):
        NeuronViewer("one", texts=["text"], load=load)
    with pytest.raises(InvalidRequestError, match="is for a dataset"):
        NeuronViewer(model, load=load)


def test_the_users_text_on_the_embedded_model(
    load: FakeLoader, live: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register_neuron_dataset_metadata(NeuronDatasetMetadata("tiny", MLP, "Tiny", "/nowhere/tiny", 2, 10))
    monkeypatch.setattr("neuron_explainer.models.checkpoints.load_model.load_model", lambda name: f"model {name}")
    viewer = NeuronViewer("tiny", neuron=5, load=load)
    viewer.own_text.text.value = "<b>my</b> text"
    viewer.own_text.compute.click()
    assert viewer.wait(10)
    assert live == [("model tiny", 0, 5, ["<b>my</b> text"], MLP)]
    assert "&lt;b&gt;my&lt;/b&gt;" in viewer.own_text.view.value
    saved = viewer.save_html(tmp_path / "saved.html").read_text(encoding="utf-8")
    for token in ("tiny-0-5", "&lt;b&gt;my&lt;/b&gt;"):  # the record, and one's own text
        assert saved.count(token) == viewer.to_html().count(token) > 0
    assert "&lt;b&gt;my&lt;/b&gt;" in viewer.to_html()
    assert shown(viewer) == (0, 5)
    viewer.controls.next.click()  # the text stays, its values become the next neuron's
    assert viewer.wait(10)
    assert live[-1][2] == 6
    viewer.show(dataset="one")
    assert viewer.own_text.layout.display == "none"
    assert viewer.own_text.view.value == ""


def test_a_failed_computation_shows_the_error(
    load: FakeLoader, live: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register_neuron_dataset_metadata(NeuronDatasetMetadata("tiny", MLP, "Tiny", "/nowhere/tiny", 2, 10))

    def fail(name: str) -> None:
        raise OSError("no weights")

    monkeypatch.setattr("neuron_explainer.models.checkpoints.load_model.load_model", fail)
    viewer = NeuronViewer("tiny", load=load)
    viewer.own_text.text.value = "text"
    viewer.own_text.compute.click()
    assert viewer.wait(10)
    assert "no weights" in viewer.status.value
    assert shown(viewer) == (0, 0)


def test_a_folder_in_place_of_a_name(tmp_path: Path) -> None:
    save_neuron(tmp_path, neuron_record(1, 2))
    viewer = NeuronViewer(tmp_path, 1, 2, "mlp_post_act")
    assert viewer.record == neuron_record(1, 2)
    assert viewer.controls.dataset.value == str(tmp_path)
    with pytest.raises(InvalidRequestError, match="Pass it"):
        NeuronViewer(tmp_path)
    viewer.controls.next.click()
    assert viewer.wait(10)
    assert isinstance(viewer.error, NeuronNotFoundError)
