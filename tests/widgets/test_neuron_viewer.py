"""Choosing neurons in a viewer, without a browser; slow and failed loads."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.neuron_records import neuron_record
from helpers.viewers import HEADS, MLP, FakeLoader, settled, shown
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, register_neuron_dataset_metadata
from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.errors import (
    InvalidRequestError,
    MalformedDatasetError,
    MissingFileError,
    NeuronNotFoundError,
    NodeNameError,
    UnknownDatasetError,
)
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.neuron_viewer import NeuronViewer
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice

# Choosing


def test_the_constructor_shows_the_first_neuron(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", layer=1, neuron=5, load=load)
    assert shown(viewer) == (1, 5)
    assert load.asked == [NeuronChoice("one", MLP, 1, 5)]
    assert repr(viewer) == "<NeuronViewer of layer 1, neuron 5 of one>"


def test_previous_and_next_cross_layers_and_stop_at_the_ends(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", layer=0, neuron=9, load=load)
    viewer.controls.next.click()
    assert settled(viewer) == (1, 0)
    viewer.controls.previous.click()
    assert settled(viewer) == (0, 9)
    viewer.show(1, 9)
    viewer.controls.next.click()
    assert settled(viewer) == (1, 9)


def test_random_stays_within_the_dataset(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    seen = set()
    for _ in range(60):
        viewer.controls.random.click()
        seen.add(settled(viewer))
    assert all(layer in (0, 1) and 0 <= neuron < 10 for layer, neuron in seen)
    assert len(seen) > 10
    viewer.show(dataset="two")
    assert viewer.controls.random.disabled  # its size is unknown


def test_each_control_loads_its_choice(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    viewer.controls.layer.value = 1
    assert settled(viewer) == (1, 2)
    viewer.controls.neuron.value = 7
    assert settled(viewer) == (1, 7)
    viewer.controls.dst.value = HEADS
    assert settled(viewer) == (1, 2)  # there are three heads: the last one is nearest
    assert load.asked[-1] == NeuronChoice("one", HEADS, 1, 2)
    assert "attention head 2" in viewer.to_html()
    assert viewer.controls.neuron.description == "Head"
    viewer.controls.dataset.value = "two"
    assert settled(viewer) == (1, 2)
    assert load.asked[-1] == NeuronChoice("two", MLP, 1, 2)


def test_the_number_of_examples_needs_no_loading(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load, examples=4)
    assert viewer.to_html().count('class="ne-example"') == 4
    viewer.controls.examples.value = 9
    assert viewer.to_html().count('class="ne-example"') == 9
    assert len(load.asked) == 1


def test_show_loads_before_it_returns(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    viewer.show(neuron=4)
    assert shown(viewer) == (0, 4)
    viewer.show(1, 1, dst="attn_write_norm")
    assert load.asked[-1] == NeuronChoice("one", HEADS, 1, 1)
    viewer.show(dataset="two")
    assert load.asked[-1] == NeuronChoice("two", MLP, 1, 1)
    assert (viewer.controls.dataset.value, viewer.controls.dst.value) == ("two", MLP)


def test_integers_of_numpy_and_names_in_any_case(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", np.int64(1), np.int32(2), "Attn_Write_Norm", load=load)
    assert load.asked == [NeuronChoice("one", HEADS, 1, 2)]
    viewer.show(np.int64(0), dst="MLP_POST_ACT")
    assert load.asked[-1] == NeuronChoice("one", MLP, 0, 2)


def test_digits_as_text_are_indices(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", "1", "2", load=load)  # type: ignore[arg-type]
    assert load.asked == [NeuronChoice("one", MLP, 1, 2)]
    viewer.show("0")
    assert load.asked[-1] == NeuronChoice("one", MLP, 0, 2)


def test_wrong_paths_and_names_are_refused(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    assert viewer.wait(10)
    for path in (None, 5, "", "https://host/x.html"):
        with pytest.raises(InvalidRequestError, match="Give a local path"):
            viewer.save_html(path)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="dataset must be of type str"):
        viewer.show(dataset=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"dataset": "oen"}, UnknownDatasetError, "one"),
        ({"dst": "mlp_pre_act"}, UnknownDatasetError, "one has no mlp_pre_act"),
        ({"layer": 2}, InvalidRequestError, "no layer 2; layers: 0–1"),
        ({"neuron": 10}, InvalidRequestError, "neurons: 0–9"),
        ({"neuron": -1}, InvalidRequestError, "not -1"),
        ({"layer": "one"}, NodeNameError, "not a node's name"),
        ({"neuron": 1.5}, InvalidRequestError, "whole number"),
    ],
)
def test_unknown_neurons_and_datasets_are_refused(
    load: FakeLoader, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        NeuronViewer(**{"dataset": "one", "load": load, **arguments})
    viewer = NeuronViewer("one", load=load)
    with pytest.raises(error, match=says):
        viewer.show(**arguments)
    assert shown(viewer) == (0, 0)


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="neurn"):
        NeuronViewer("one", neurn=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidRequestError, match="examples is 0"):
        NeuronViewer("one", examples=0)
    with pytest.raises(InvalidRequestError, match="3 is not a dataset"):
        NeuronViewer(3)  # type: ignore[arg-type]


# Slow and failed loads


def test_a_failed_load_shows_the_error_and_keeps_the_neuron(load: FakeLoader) -> None:
    load.errors[3] = NeuronNotFoundError("no <neuron> 3")
    viewer = NeuronViewer("one", neuron=2, load=load)
    viewer.controls.next.click()
    assert settled(viewer) == (0, 2)
    assert isinstance(viewer.error, NeuronNotFoundError)
    said = viewer.status.value
    assert "NeuronNotFoundError" in said
    assert "no &lt;neuron&gt; 3" in said
    assert "Still showing layer 0, neuron 2 of one" in said
    viewer.controls.next.click()
    assert settled(viewer) == (0, 4)
    assert viewer.error is None
    assert "NeuronNotFoundError" not in viewer.status.value


def test_a_failed_first_load_shows_the_error(load: FakeLoader) -> None:
    load.errors[0] = OSError("unreachable")
    viewer = NeuronViewer("one", load=load)
    assert viewer.record is None
    assert "unreachable" in viewer.status.value
    with pytest.raises(InvalidRequestError, match="nothing to save"):
        viewer.save_html("never.html")
    viewer.controls.next.click()
    assert settled(viewer) == (0, 1)


def test_an_unreadable_dataset_shows_the_error_and_keeps_the_neuron(tmp_path: Path) -> None:
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


def test_the_status_says_that_a_neuron_is_loading(load: FakeLoader) -> None:
    load.gates[1] = threading.Event()
    viewer = NeuronViewer("one", load=load)
    viewer.controls.next.click()
    assert "Loading layer 0, neuron 1 of one" in viewer.status.value
    assert shown(viewer) == (0, 0)
    assert not viewer.wait(0.01)
    load.gates[1].set()
    assert settled(viewer) == (0, 1)
    assert "Loading" not in viewer.status.value


@pytest.mark.parametrize("fails", [False, True])
def test_a_slow_load_does_not_replace_a_later_one(load: FakeLoader, fails: bool) -> None:
    slow = load.gates[1] = threading.Event()
    if fails:
        load.errors[1] = OSError("too late")
    viewer = NeuronViewer("one", load=load)
    viewer.controls.next.click()  # neuron 1, which takes its time
    viewer.controls.next.click()  # neuron 2
    assert settled(viewer) == (0, 2)
    slow.set()
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread() and "_run_task" in thread.name:
            thread.join(10)
    assert shown(viewer) == (0, 2)
    assert viewer.error is None


def test_fast_typing_loads_only_the_last_neuron(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    for neuron in (1, 3, 5, 7):
        viewer.controls.neuron.value = neuron
    assert settled(viewer) == (0, 7)
    assert [choice.neuron for choice in load.asked] == [0, 7]


def test_only_the_latest_task_is_delivered() -> None:
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
