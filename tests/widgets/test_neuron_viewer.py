"""The viewer without a kernel: its state, its events, and what it leaves in a notebook."""

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from nbconvert import HTMLExporter

from helpers.neuron_records import neuron_record
from neuron_explainer.activation_server import neuron_datasets
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, register_neuron_dataset_metadata
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord, save_neuron
from neuron_explainer.errors import (
    InvalidRequestError,
    MalformedDatasetError,
    MissingFileError,
    NeuronNotFoundError,
    UnknownDatasetError,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.choices import DatasetSize, NeuronChoice
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.neuron_viewer import NeuronViewer

MLP, HEADS = DerivedScalarType.MLP_POST_ACT, DerivedScalarType.ATTN_WRITE_NORM


@pytest.fixture(autouse=True)
def two_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of "one" (neurons and heads; 2 layers) and "two" (neurons; nobody knows how many)."""
    monkeypatch.setattr(neuron_datasets, "NEURON_DATASET_METADATA_REGISTRY", {})
    register_neuron_dataset_metadata(NeuronDatasetMetadata("one", MLP, "One", "/nowhere/one", 2, 10))
    register_neuron_dataset_metadata(NeuronDatasetMetadata("one", HEADS, "One, heads", "/nowhere/heads", 2, 3))
    register_neuron_dataset_metadata(NeuronDatasetMetadata("two", MLP, "Two", "/nowhere/two"))


class FakeLoader:
    """Gives records at once; or not before `gates[neuron]` is set; or the error in `errors[neuron]`."""

    def __init__(self) -> None:
        self.asked: list[NeuronChoice] = []
        self.gates: dict[int, threading.Event] = {}
        self.errors: dict[int, Exception] = {}

    def __call__(self, choice: NeuronChoice) -> NeuronRecord:
        self.asked.append(choice)
        if choice.neuron in self.gates:
            assert self.gates[choice.neuron].wait(10)
        if choice.neuron in self.errors:
            raise self.errors[choice.neuron]
        token = f"{choice.dataset}-{choice.layer}-{choice.neuron}"
        n_activations = 3 if choice.dst == HEADS else 2
        example = ActivationRecord([token, " said"], [1.0] * n_activations)
        return NeuronRecord(NeuronId(choice.layer, choice.neuron), most_positive_activation_records=[example] * 12)


@pytest.fixture
def load() -> FakeLoader:
    return FakeLoader()


def _on_view(viewer: NeuronViewer) -> tuple[int, int]:
    assert viewer.record is not None
    neuron_id = viewer.record.neuron_id
    assert f"{neuron_id.layer_index}-{neuron_id.neuron_index}" in viewer.to_html()
    return neuron_id.layer_index, neuron_id.neuron_index


def _settled(viewer: NeuronViewer) -> tuple[int, int]:
    assert viewer.wait(10)
    return _on_view(viewer)


# Choosing


def test_the_first_neuron_is_on_view_when_the_viewer_is_there(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", layer=1, neuron=5, load=load)
    assert _on_view(viewer) == (1, 5)
    assert load.asked == [NeuronChoice("one", MLP, 1, 5)]
    assert repr(viewer) == "<NeuronViewer of layer 1, neuron 5 of one>"


def test_previous_and_next_go_on_into_the_next_layer_and_stop_at_the_ends(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", layer=0, neuron=9, load=load)
    viewer.controls.next.click()
    assert _settled(viewer) == (1, 0)
    viewer.controls.previous.click()
    assert _settled(viewer) == (0, 9)
    viewer.show(1, 9)
    viewer.controls.next.click()
    assert _settled(viewer) == (1, 9)


def test_random_stays_within_the_dataset(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    seen = set()
    for _ in range(60):
        viewer.controls.random.click()
        seen.add(_settled(viewer))
    assert all(layer in (0, 1) and 0 <= neuron < 10 for layer, neuron in seen)
    assert len(seen) > 10
    viewer.show(dataset="two")
    assert viewer.controls.random.disabled  # nobody knows how large it is


def test_controls_load_what_they_say(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    viewer.controls.layer.value = 1
    assert _settled(viewer) == (1, 2)
    viewer.controls.neuron.value = 7
    assert _settled(viewer) == (1, 7)
    viewer.controls.dst.value = HEADS
    assert _settled(viewer) == (1, 2)  # there are three heads: the last one is nearest
    assert load.asked[-1] == NeuronChoice("one", HEADS, 1, 2)
    assert "attention head 2" in viewer.to_html()
    assert viewer.controls.neuron.description == "Head"
    viewer.controls.dataset.value = "two"
    assert _settled(viewer) == (1, 2)
    assert load.asked[-1] == NeuronChoice("two", MLP, 1, 2)


def test_the_number_of_examples_needs_no_loading(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load, examples=4)
    assert viewer.to_html().count('class="ne-example"') == 4
    viewer.controls.examples.value = 9
    assert viewer.to_html().count('class="ne-example"') == 9
    assert len(load.asked) == 1


def test_show_goes_there_at_once(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    viewer.show(neuron=4)
    assert _on_view(viewer) == (0, 4)
    viewer.show(1, 1, dst="attn_write_norm")
    assert load.asked[-1] == NeuronChoice("one", HEADS, 1, 1)
    viewer.show(dataset="two")
    assert load.asked[-1] == NeuronChoice("two", MLP, 1, 1)
    assert (viewer.controls.dataset.value, viewer.controls.dst.value) == ("two", MLP)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"dataset": "oen"}, UnknownDatasetError, "one"),
        ({"dst": "mlp_pre_act"}, UnknownDatasetError, "mlp_post_act"),
        ({"layer": 2}, InvalidRequestError, "no layer 2; layers: 0–1"),
        ({"neuron": 10}, InvalidRequestError, "neurons: 0–9"),
        ({"neuron": -1}, InvalidRequestError, "no neuron -1"),
        ({"layer": "1"}, InvalidRequestError, "whole number"),
        ({"neuron": 1.5}, InvalidRequestError, "whole number"),
    ],
)
def test_what_is_not_there_is_refused(
    load: FakeLoader, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        NeuronViewer(**{"dataset": "one", "load": load, **arguments})
    viewer = NeuronViewer("one", load=load)
    with pytest.raises(error, match=says):
        viewer.show(**arguments)
    assert _on_view(viewer) == (0, 0)


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="neurn"):
        NeuronViewer("one", neurn=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidRequestError, match="not 0"):
        NeuronViewer("one", examples=0)
    with pytest.raises(InvalidRequestError, match="None is not a dataset"):
        NeuronViewer(None)  # type: ignore[arg-type]


# Slow and failed loads


def test_a_failed_load_is_told_and_the_last_neuron_stays(load: FakeLoader) -> None:
    load.errors[3] = NeuronNotFoundError("no <neuron> 3")
    viewer = NeuronViewer("one", neuron=2, load=load)
    viewer.controls.next.click()
    assert _settled(viewer) == (0, 2)
    assert isinstance(viewer.error, NeuronNotFoundError)
    said = viewer.status.value
    assert "NeuronNotFoundError" in said
    assert "no &lt;neuron&gt; 3" in said
    assert "Still showing layer 0, neuron 2 of one" in said
    viewer.controls.next.click()
    assert _settled(viewer) == (0, 4)
    assert viewer.error is None
    assert "NeuronNotFoundError" not in viewer.status.value


def test_a_failed_first_load_is_told_too(load: FakeLoader) -> None:
    load.errors[0] = OSError("unreachable")
    viewer = NeuronViewer("one", load=load)
    assert viewer.record is None
    assert "unreachable" in viewer.status.value
    with pytest.raises(InvalidRequestError, match="nothing to save"):
        viewer.save_html("never.html")
    viewer.controls.next.click()
    assert _settled(viewer) == (0, 1)


def test_a_dataset_that_cannot_be_read_is_told_and_the_last_neuron_stays(tmp_path: Path) -> None:
    for name in ("fine", "broken", "gone"):
        save_neuron(tmp_path / name, neuron_record(1, 4))
        register_neuron_dataset_metadata(NeuronDatasetMetadata(name, MLP, name, str(tmp_path / name)))
    viewer = NeuronViewer("fine", 1, 4)
    page = viewer.to_html()
    (tmp_path / "broken" / "dataset.json").write_text("{")
    shutil.rmtree(tmp_path / "gone")

    for name, error, says in (
        ("broken", MalformedDatasetError, "dataset.json"),
        ("gone", MissingFileError, "folder not found"),
    ):
        viewer.controls.dataset.value = name
        assert viewer.wait(10)
        assert isinstance(viewer.error, error)
        assert says in viewer.status.value
        assert viewer.to_html() == page
        viewer.controls.dataset.value = "fine"
        assert viewer.wait(10)
        assert viewer.error is None
    viewer.show(dataset="broken")
    assert isinstance(viewer.error, MalformedDatasetError)


def test_loading_is_told_while_it_lasts(load: FakeLoader) -> None:
    load.gates[1] = threading.Event()
    viewer = NeuronViewer("one", load=load)
    viewer.controls.next.click()
    assert "Loading layer 0, neuron 1 of one" in viewer.status.value
    assert _on_view(viewer) == (0, 0)
    assert not viewer.wait(0.01)
    load.gates[1].set()
    assert _settled(viewer) == (0, 1)
    assert "Loading" not in viewer.status.value


@pytest.mark.parametrize("fails", [False, True])
def test_a_slow_answer_does_not_take_the_place_of_a_later_one(load: FakeLoader, fails: bool) -> None:
    slow = load.gates[1] = threading.Event()
    if fails:
        load.errors[1] = OSError("too late")
    viewer = NeuronViewer("one", load=load)
    viewer.controls.next.click()  # neuron 1, which takes its time
    viewer.controls.next.click()  # neuron 2
    assert _settled(viewer) == (0, 2)
    slow.set()
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread() and "_run_task" in thread.name:
            thread.join(10)
    assert _on_view(viewer) == (0, 2)
    assert viewer.error is None


def test_of_what_is_typed_fast_only_the_last_is_loaded(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    for neuron in (1, 3, 5, 7):
        viewer.controls.neuron.value = neuron
    assert _settled(viewer) == (0, 7)
    assert [choice.neuron for choice in load.asked] == [0, 7]


def test_the_last_request_alone_counts() -> None:
    delivered: list[tuple[int, Any]] = []
    gate = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            gate.wait(10)
        if number == 3:
            raise ValueError("three")
        return number * 10

    latest = LatestOnly(work, lambda number, result: delivered.append((number, result)))
    latest.submit(1)
    latest.run(2)
    gate.set()
    assert latest.wait(10)
    latest.run(3)
    assert delivered[0] == (2, 20)
    assert delivered[1][0] == 3
    assert isinstance(delivered[1][1], ValueError)
    assert len(delivered) == 2


def test_moving_in_a_dataset_of_unknown_size() -> None:
    size = DatasetSize(None, None)
    at = NeuronChoice("two", MLP, 0, 0)
    assert size.moved(at, -1) == at
    assert size.moved(at, 1).neuron == 1


# What it leaves


def test_saved_html_stands_alone_and_is_whole_or_not_there(
    load: FakeLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    path = viewer.save_html(tmp_path / "neuron.html")
    saved = path.read_text(encoding="utf-8")
    assert saved.startswith("<!DOCTYPE html>")
    assert "one-0-2" in saved
    viewer.show(neuron=3)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        viewer.save_html(path)
    assert path.read_text(encoding="utf-8") == saved
    assert [file.name for file in tmp_path.iterdir()] == ["neuron.html"]


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any], bool]]:
    """What is displayed: (data, transient, whether it replaces what was displayed before)."""
    shell = start_ipython() or InteractiveShell.instance()
    published: list[tuple[dict[str, Any], dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], **options: Any) -> None:
        published.append((data, options.get("transient") or {}, options.get("update", False)))

    monkeypatch.setattr(shell.display_pub, "publish", publish)
    return published


def test_a_notebook_gets_the_widget_and_a_static_copy_that_follows_it(load: FakeLoader, displayed: list[Any]) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    assert displayed == []
    viewer._ipython_display_()
    (widget, _, _), (copy, transient, _) = displayed
    assert widget["application/vnd.jupyter.widget-view+json"]["model_id"] == viewer.model_id
    assert "text/html" not in widget
    assert "one-0-2" in copy["text/html"]
    assert "application/vnd.jupyter.widget-view+json" not in copy
    viewer.controls.next.click()
    assert _settled(viewer) == (0, 3)
    later, of_which, replaces = displayed[-1]
    assert replaces
    assert of_which == transient
    assert "one-0-3" in later["text/html"]


def test_a_notebook_exported_without_widget_state_shows_the_neuron(load: FakeLoader, displayed: list[Any]) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    viewer._ipython_display_()
    outputs = [nbformat.v4.new_output("display_data", data=data) for data, _, _ in displayed]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("viewer", outputs=outputs)])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count("Layer 0, neuron 2") == 1
    assert "one-0-2" in page
    assert f'class="ne-{viewer.model_id}"' not in page  # so nothing hides it


# Texts of one's own


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands for a model's computation; the calls."""
    calls: list[Any] = []

    def live_record(model: Any, layer: int, neuron: int, texts: list[str], dst: DerivedScalarType) -> NeuronRecord:
        calls.append((model, layer, neuron, texts, dst))
        examples = [ActivationRecord([*text.split()], [float(neuron)] * len(text.split())) for text in texts]
        return NeuronRecord(NeuronId(layer, neuron), most_positive_activation_records=examples)

    monkeypatch.setattr("neuron_explainer.collation.live.live_record", live_record)
    return calls


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


def test_what_goes_with_a_model_and_what_with_a_dataset(load: FakeLoader) -> None:
    model: Any = FakeModel()
    with pytest.raises(InvalidRequestError, match="are for a model"):
        NeuronViewer("one", texts=["text"], load=load)
    with pytest.raises(InvalidRequestError, match="is for a dataset"):
        NeuronViewer(model, load=load)


def test_ones_own_text_on_the_embedded_model(
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
    assert viewer.to_html() in viewer.save_html(tmp_path / "saved.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;my&lt;/b&gt;" in viewer.to_html()
    assert _on_view(viewer) == (0, 5)
    viewer.controls.next.click()  # the text stays, its values become the next neuron's
    assert viewer.wait(10)
    assert live[-1][2] == 6
    viewer.show(dataset="one")
    assert viewer.own_text.layout.display == "none"
    assert viewer.own_text.view.value == ""


def test_a_failed_computation_is_told(load: FakeLoader, live: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    register_neuron_dataset_metadata(NeuronDatasetMetadata("tiny", MLP, "Tiny", "/nowhere/tiny", 2, 10))

    def fail(name: str) -> None:
        raise OSError("no weights")

    monkeypatch.setattr("neuron_explainer.models.checkpoints.load_model.load_model", fail)
    viewer = NeuronViewer("tiny", load=load)
    viewer.own_text.text.value = "text"
    viewer.own_text.compute.click()
    assert viewer.wait(10)
    assert "no weights" in viewer.status.value
    assert _on_view(viewer) == (0, 0)


# Folders


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
