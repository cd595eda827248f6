"""`record`, `node` and `error` can be observed; the first layer there is; addresses without credentials."""

from pathlib import Path
from typing import Any

import pytest

from helpers.neuron_records import neuron_record
from helpers.viewers import HEADS, FakeLoader, settled
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, register_neuron_dataset_metadata
from neuron_explainer.activations.activations import NeuronRecord, save_neuron
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.errors import InvalidRequestError, NeuronNotFoundError
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.widgets.neuron_viewer import NeuronViewer
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice


def test_observers_are_called_when_the_new_record_is_on_view(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    seen: list[tuple[str, Any, Any, bool]] = []

    def note(change: Any) -> None:
        assert viewer.record is not None
        assert viewer.node is not None
        is_on_view = f"one-0-{viewer.record.neuron_id.neuron_index}" in viewer.to_html()
        seen.append((change.name, viewer.record.neuron_id.neuron_index, viewer.node.tensor_indices, is_on_view))

    viewer.observe(note, ["record", "node"])
    viewer.controls.next.click()
    assert settled(viewer) == (0, 1)
    assert sorted(seen) == [("node", 1, ("All", 1), True), ("record", 1, ("All", 1), True)]
    seen.clear()
    viewer.controls.examples.value = 3  # the same record, drawn again
    assert seen == []


def test_the_node_names_the_component(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", 1, 2, load=load)
    assert viewer.node == NodeIndex(NodeType.MLP_NEURON, 1, ("All", 2))
    viewer.show(dst=HEADS)
    assert viewer.node == NodeIndex(NodeType.ATTENTION_HEAD, 1, ("All", "All", 2))


def test_a_failure_is_observed_and_the_record_stays(load: FakeLoader) -> None:
    load.errors[1] = NeuronNotFoundError("none")
    viewer = NeuronViewer("one", load=load)
    names: list[str] = []
    viewer.observe(lambda change: names.append(change.name), ["record", "node", "error"])
    viewer.controls.next.click()
    assert viewer.wait(10)
    assert names == ["error"]


def test_what_is_shown_cannot_be_assigned(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    with pytest.raises(Exception, match="read-only"):
        viewer.record = None  # type: ignore[misc]


def test_the_first_layer_that_a_dataset_has(tmp_path: Path) -> None:
    for layer in (3, 1):
        save_neuron(tmp_path, neuron_record(layer, 0))
    viewer = NeuronViewer(tmp_path, dst="mlp_post_act")
    assert viewer.error is None
    assert viewer.record == neuron_record(1, 0)
    assert (viewer.controls.layer.min, viewer.controls.layer.max) == (1, 3)
    with pytest.raises(InvalidRequestError, match="layers: 1, 3"):
        NeuronViewer(tmp_path, 0, dst="mlp_post_act")
    assert DatasetSize([1, 3], None).with_layer(NeuronChoice("x", HEADS, 0, 0)).layer == 1


def test_another_dataset_is_shown_in_a_layer_that_it_has(tmp_path: Path, load: FakeLoader) -> None:
    save_neuron(tmp_path, neuron_record(1, 0))
    register_neuron_dataset_metadata(NeuronDatasetMetadata("late", HEADS, "Late", str(tmp_path)))
    viewer = NeuronViewer("one", load=load)
    viewer.show(dataset="late")
    assert load.asked[-1] == NeuronChoice("late", HEADS, 1, 0)
    viewer.show(dataset="one", layer=0)
    viewer.controls.dataset.value = "late"
    assert viewer.wait(10)
    assert load.asked[-1] == NeuronChoice("late", HEADS, 1, 0)


def test_addresses_are_shown_without_their_credentials(tmp_path: Path) -> None:
    address = "https://me:secret@host/data?sig=s1gnature"
    asked: list[str] = []

    def load_from(choice: NeuronChoice) -> NeuronRecord:
        asked.append(choice.dataset)
        if choice.neuron == 1:
            raise OSError(f"no answer from {choice.dataset}")
        return neuron_record(choice.layer, choice.neuron)

    viewer = NeuronViewer(address, dst="mlp_post_act", load=load_from)
    viewer.controls.next.click()
    assert viewer.wait(10)
    assert asked == [address, address]  # it is loaded with them
    saved = viewer.save_html(tmp_path / "saved.html").read_text(encoding="utf-8")
    for text in (
        repr(viewer),
        str(viewer),
        viewer.to_html(),
        viewer.status.value,
        saved,
        str(viewer.controls.dataset.get_state()),
    ):
        assert "secret" not in text
        assert "s1gnature" not in text
    assert "https://host/data" in viewer.status.value
