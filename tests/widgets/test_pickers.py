"""Pickers alone: traits, entries, moves, history; linked; with wrong and hostile entries."""

import time
from pathlib import Path
from typing import Any, cast

import ipywidgets
import msgspec
import numpy as np
import pytest
import traitlets
from ipywidgets.widgets.widget import _instances

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless
from helpers.neuron_records import INFO, TOKENS, neuron_record
from helpers.packed_layers import examples
from helpers.viewers import HEADS, MLP, FakeLoader, settled
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, register_neuron_dataset_metadata
from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.activations.packed.layout import PackedLayer
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.errors import (
    InvalidIndexError,
    InvalidRequestError,
    NodeNameError,
    UnknownDatasetError,
    UnknownNameError,
)
from neuron_explainer.widgets.pickers import DatasetPicker, NodePicker
from neuron_explainer.widgets.picking.moves import History

Changes = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path / "notes"))


def name(picker: NodePicker) -> str:
    return str(ne.parse_node(picker.node))


def changes_of(picker: NodePicker | DatasetPicker, *traits: str) -> Changes:
    """What observers hear, as it comes; each time all traits agree."""
    heard: Changes = []

    def hear(change: Any) -> None:
        assert getattr(picker, change.name) == change.new
        if isinstance(picker, NodePicker):
            assert (picker.choice.dataset, picker.choice.dst, picker.choice.node) == (
                picker.dataset,
                picker.dst,
                picker.node,
            )
        heard.append((change.name, str(ne.parse_node(change.new)) if change.name == "node" else str(change.new)))

    picker.observe(hear, list(traits) or ["dataset", "dst", "node"])
    return heard


# Choosing by code


def test_names_and_indices_are_assigned() -> None:
    picker = NodePicker("one")
    assert (name(picker), picker.dataset, picker.dst) == ("L0N0", "one", MLP)
    heard = changes_of(picker, "node")
    picker.node = "L1N3"
    picker.node = "1:4"
    picker.node = picker.node  # the same: nobody hears of it
    picker.node = "neuron 4 of layer 1"
    picker.node = ne.NodeIndex("mlp_neuron", np.int64(0), (7, 5))  # its token does not matter
    picker.go("6")
    assert heard == [("node", "L1N3"), ("node", "L1N4"), ("node", "L0N5"), ("node", "L0N6")]


def test_a_name_of_another_kind_changes_the_type_first() -> None:
    picker = NodePicker("one")
    heard = changes_of(picker)
    picker.go("L1H2")
    assert heard == [("dst", HEADS.value), ("node", "L1H2")]
    assert picker.bar.number.description == "Head"


def test_another_type_or_dataset_chooses_the_nearest_component() -> None:
    picker = NodePicker("one", node="L1N9")
    picker.dst = "ATTN_WRITE_NORM"
    assert name(picker) == "L1H2"
    picker.dataset = "two"
    assert (picker.dst, name(picker)) == (MLP, "L1N2")
    picker = NodePicker("one", node="L1N9", dst="mlp_post_act")
    assert NodePicker("one", dst=HEADS).dst is HEADS
    with pytest.raises(InvalidRequestError, match="not a component of mlp_post_act"):
        NodePicker("one", node="L1H1", dst="mlp_post_act")


@pytest.mark.parametrize(
    ("trait", "value", "error", "says"),
    [
        ("node", "L2N0", InvalidRequestError, "no layer 2; layers: 0–1"),
        ("node", "L1N10", InvalidRequestError, "neurons: 0–9"),
        ("node", "L1A1", InvalidRequestError, "autoencoder latent"),
        ("node", "somewhere", NodeNameError, "layer 5 neuron 131"),
        ("node", "", NodeNameError, "not understood"),
        ("node", None, InvalidIndexError, "names no node"),
        ("node", 5, InvalidIndexError, "names no node"),
        ("dataset", "oen", UnknownDatasetError, "one"),
        ("dataset", 5, InvalidRequestError, "not of type int"),
        ("dst", "mlp_pre_act", UnknownDatasetError, "one has no mlp_pre_act"),
        ("dst", "no type", UnknownNameError, "no type"),
    ],
)
def test_what_is_wrong_is_refused_and_the_last_good_node_stays(
    trait: str, value: Any, error: type[Exception], says: str
) -> None:
    picker = NodePicker("one", node="L1N3")
    heard = changes_of(picker)
    with pytest.raises(error, match=says):
        setattr(picker, trait, value)
    assert (name(picker), heard) == ("L1N3", [])


def test_sources() -> None:
    with pytest.raises(UnknownDatasetError, match="one"):
        NodePicker("oen")
    with pytest.raises(InvalidRequestError, match="5 is not a dataset"):
        NodePicker(cast("Any", 5))
    with pytest.raises(InvalidRequestError, match="hide_dead"):
        NodePicker("one", hide_dead=cast("Any", "no"))
    model = ne.load_model("tiny", device="cpu", name="mine")
    for source in (model, "tiny"):  # without the embedded dataset, the name is the model's
        picker = NodePicker(source, node="L3N511")
        assert picker.dataset == ("mine" if source is model else "tiny")
        picker.go("L0H1")
        assert (name(picker), picker.bar.hide_dead.layout.display) == ("L0H1", "none")
        with pytest.raises(InvalidRequestError, match=r"is the model .*, and 'one' is not its name"):
            picker.dataset = "one"
        with pytest.raises(InvalidRequestError, match="no layer 9"):
            picker.go("L9N1")


# Links


def test_a_link_of_a_registered_dataset_leads_there() -> None:
    register_neuron_dataset_metadata(NeuronDatasetMetadata("far", MLP, "Far", "https://host/far/", 12, 200))
    picker = NodePicker("one")
    heard = changes_of(picker)
    picker.bar.entry.value = "https://host/far/5/131.json"
    assert heard == [("dataset", "far"), ("node", "L5N131")]
    with pytest.raises(InvalidRequestError, match="no layer 12"):
        picker.go("https://host/far/12/131.json")
    register_neuron_dataset_metadata(NeuronDatasetMetadata("later", HEADS, "Later", "https://host/later/", 12, 200))
    picker.go("az://host2/x/../later/5/131.json".replace("az://host2/x/..", "https://host"))
    assert (picker.dataset, picker.dst) == ("later", HEADS)


def test_a_link_of_another_dataset_says_so() -> None:
    picker = NodePicker("one", node="L1N3")
    for link, said in (
        ("https://www.neuronpedia.org/gpt2-small/5-res-jb/131", "of gpt2-small/5-res-jb, but this is one"),
        ("https://me:secret@host/data/1/2.json?sig=secret", "of https://host/data, but this is one"),
    ):
        picker.bar.entry.value = link
        assert said in picker.message.value
        assert "secret" not in picker.message.value
        assert name(picker) == "L1N3"
    picker = NodePicker("https://me:secret@host/data?sig=1", dst=MLP)
    picker.go("https://host/data/7/8.json")  # the same place
    assert (name(picker), picker.dataset) == ("L7N8", "https://me:secret@host/data?sig=1")
    assert "secret" not in repr(picker) + repr(ipywidgets.VBox([picker]))


# By a person


def test_the_fields_and_buttons() -> None:
    picker = NodePicker("one", node="L0N9")
    heard = changes_of(picker, "node")
    picker.bar.next.click()
    picker.bar.next.click()
    picker.bar.previous.click()
    picker.bar.layer.value = 1
    picker.bar.number.value = 4
    picker.bar.entry.value = "L1N5"
    assert [each for _, each in heard] == ["L1N0", "L1N1", "L1N0", "L1N4", "L1N5"]
    assert picker.bar.entry.value == ""
    picker.bar.entry.value = "L1N5"  # again
    assert (picker.bar.entry.value, len(heard)) == ("", 5)
    assert not picker.bar.random.disabled
    picker.random(seed=1)
    seeded = name(picker)
    picker.random(seed=2)
    picker.random(seed=1)
    assert name(picker) == seeded
    picker.dataset = "two"
    assert picker.bar.random.disabled
    with pytest.raises(InvalidRequestError, match="size of two is unknown"):
        picker.random()
    with pytest.raises(InvalidRequestError, match="seed is 'x'"):
        NodePicker("one").random(cast("Any", "x"))


def test_a_wrong_entry_is_said_beneath_until_the_next_good_one() -> None:
    picker = NodePicker("one", node="L1N3")
    assert picker.message.layout.display == "none"
    picker.bar.entry.value = "L7N3"
    assert picker.message.layout.display == ""
    assert "no layer 7; layers: 0–1" in picker.message.value
    assert 'role="alert"' in picker.message.value
    assert picker.bar.entry.value == "L7N3"  # to be mended
    assert name(picker) == "L1N3"
    picker.bar.entry.value = "L1N4"
    assert picker.message.layout.display == "none"


def test_a_layer_that_is_missing_is_said(tmp_path: Path) -> None:
    for layer in (1, 3):
        save_neuron(tmp_path, neuron_record(layer, 0))
    picker = NodePicker(tmp_path, dst="mlp_post_act")
    picker.bar.layer.value = 2
    assert "layers: 1, 3" in picker.message.value
    assert name(picker) == "L1N0"
    picker.bar.layer.value = 3
    assert name(picker) == "L3N0"
    assert picker.message.layout.display == "none"


@pytest.mark.parametrize("text", [*HOSTILE_TOKENS, "x" * 10**6, "9" * 10**6, "layer 5 " * 10**5])
def test_hostile_entries_stay_texts(text: str) -> None:
    picker = NodePicker("one", node="L1N3")
    start = time.perf_counter()
    picker.bar.entry.value = text
    assert time.perf_counter() - start < 1
    assert name(picker) == "L1N3"
    assert len(picker.message.value) < 6000
    assert_harmless(picker.message.value)
    assert "\u202e" not in picker.message.value


def test_an_observer_that_fails_is_said() -> None:
    picker = NodePicker("one")

    def fail(_: object) -> None:
        raise LookupError("in an observer")

    picker.observe(fail, "node")
    picker.bar.next.click()
    assert "in an observer" in picker.message.value
    assert name(picker) == "L0N1"
    with pytest.raises(LookupError):
        picker.go("L1N1")


# History


def test_back_and_forward() -> None:
    picker = NodePicker("one")
    assert picker.bar.back.disabled
    for text in ("L0N1", "L1H2", "L1N3"):
        picker.go(text)
    picker.bar.back.click()
    assert (name(picker), picker.dst) == ("L1H2", HEADS)
    picker.back()
    picker.forward()
    assert name(picker) == "L1H2"
    picker.back()
    picker.back()
    picker.back()  # the beginning
    assert name(picker) == "L0N0"
    assert (picker.bar.back.disabled, picker.bar.forward.disabled) == (True, False)
    picker.bar.forward.click()
    assert name(picker) == "L0N1"
    picker.go("L0N7")
    assert picker.bar.forward.disabled
    picker.forward()
    assert name(picker) == "L0N7"


def test_what_is_typed_in_one_go_is_one_step_back() -> None:
    picker = NodePicker("one", node="L1N5")
    for number in (1, 3, 8):
        picker.bar.number.value = number
    assert name(picker) == "L1N8"
    picker.back()
    assert name(picker) == "L1N5"
    history = History()
    for number in range(3000):
        history.note(ne.widgets.NeuronChoice("one", MLP, 0, number), False)  # type: ignore[attr-defined]
    assert len(history) == 1000
    assert history.step(-1) == ne.widgets.NeuronChoice("one", MLP, 0, 2998)  # type: ignore[attr-defined]


# Living components


@pytest.fixture
def some_dead(tmp_path: Path) -> Path:
    """A dataset of two layers of six components: living are 1 and 4 of layer 0, none of layer 1, 2 of layer 2."""
    info = msgspec.structs.replace(INFO, n_components=6, n_layers=3, layer_indices=[0, 1, 2])
    write_packed_dataset_info(tmp_path / "some", info, TOKENS)
    for layer, living in enumerate(([1, 4], [], [2])):
        peaks = [[[float(number in living)]] for number in range(6)]
        one, none = [[0]] * 6, [[-1]] * 6
        packed = PackedLayer(
            sequences=np.zeros((1, 5), np.int32),
            sequence_lengths=np.array([3], np.int32),
            top=examples(one, one, [[1]] * 6, peaks),
            random=examples(none, one, one, [[[0.0]]] * 6),
            moments=np.full((6, 4), np.nan),
        )
        write_packed_layer(tmp_path / "some", layer, packed)
    return tmp_path / "some"


def test_dead_components_are_passed_over(some_dead: Path) -> None:
    picker = NodePicker(some_dead, node="0:1")
    assert picker.bar.hide_dead.layout.display == ""
    names = []
    for _ in range(3):
        picker.bar.next.click()
        names.append((picker.choice.layer, picker.choice.neuron))
    assert names == [(0, 4), (2, 2), (2, 2)]
    picker.bar.previous.click()
    assert (picker.choice.layer, picker.choice.neuron) == (0, 4)
    seen = set()
    for seed in range(40):
        picker.random(seed)
        seen.add((picker.choice.layer, picker.choice.neuron))
    assert seen == {(0, 1), (0, 4), (2, 2)}
    picker.go("1:3")  # asked for by name, it is shown
    assert "layer 1, " in picker.message.value
    assert "is never above 0" in picker.message.value
    picker.bar.hide_dead.value = False
    picker.bar.next.click()
    assert (picker.choice.layer, picker.choice.neuron) == (1, 4)


# Several widgets


def test_linked_pickers_go_together() -> None:
    one, other = NodePicker("one"), NodePicker("one")
    heard_of_one, heard = changes_of(one, "node"), changes_of(other, "node")
    traitlets.link((one, "node"), (other, "node"))
    one.bar.next.click()
    other.go("L1N5")
    one.go("L1H2")
    other.bar.back.click()
    assert name(one) == name(other) == "L1N5"
    assert heard == heard_of_one == [("node", each) for each in ("L0N1", "L1N5", "L1H2", "L1N5")]


def test_a_dataset_picker_leads_a_node_picker() -> None:
    datasets, nodes = DatasetPicker("one"), NodePicker("one", node="L1N9")
    traitlets.link((datasets, "dataset"), (nodes, "dataset"))
    traitlets.link((datasets, "dst"), (nodes, "dst"))
    datasets.types.value = HEADS
    assert (nodes.dst, name(nodes)) == (HEADS, "L1H2")
    datasets.datasets.value = "two"
    assert (nodes.dataset, nodes.dst) == ("two", MLP)
    nodes.dataset = "one"
    nodes.go("L0H1")
    assert (datasets.dataset, datasets.dst) == ("one", HEADS)


def test_the_viewer_s_own_pickers(load: FakeLoader) -> None:
    viewer = ne.NeuronViewer("one", load=load)
    viewer.controls.node_picker.bar.entry.value = "L1H2"
    assert settled(viewer) == (1, 2)
    assert viewer.controls.dst.value is HEADS
    viewer.controls.node_picker.go("L0N9")
    viewer.controls.node_picker.bar.back.click()
    assert settled(viewer) == (1, 2)
    asked = len(load.asked)
    viewer.controls.node_picker.bar.entry.value = "L8N1"
    assert "no layer 8" in viewer.controls.node_picker.message.value
    assert (settled(viewer), len(load.asked)) == ((1, 2), asked)
    other = NodePicker("one")
    other.observe(lambda change: viewer.show(change.new), "node")
    other.go("L1N7")
    assert settled(viewer) == (1, 7)


# Datasets


def test_a_dataset_picker() -> None:
    picker = DatasetPicker("one", "attn_write_norm")
    heard = changes_of(picker)
    picker.datasets.value = "two"
    picker.dataset = "ONE"
    picker.types.value = HEADS
    assert heard == [
        ("dataset", "two"),
        ("dst", MLP.value),
        ("dataset", "one"),
        ("dst", HEADS.value),
    ]
    register_neuron_dataset_metadata(NeuronDatasetMetadata("later", MLP, "Later", "/nowhere/later"))
    picker.dataset = "later"
    assert [label for label, _ in picker.datasets.options] == ["one", "two", "later"]
    for trait, value, error in (("dataset", "oen", UnknownDatasetError), ("dst", HEADS, UnknownDatasetError)):
        with pytest.raises(error):
            setattr(picker, trait, value)
    assert (picker.dataset, picker.dst) == ("later", MLP)


def test_another_dataset_by_its_address_or_folder(tmp_path: Path, some_dead: Path) -> None:
    picker = DatasetPicker("one")
    picker.entry.value = str(some_dead)
    assert (picker.dataset, picker.entry.value) == (str(some_dead), "")
    save_neuron(tmp_path / "plain", neuron_record(1, 0))
    picker.entry.value = str(tmp_path / "plain")
    assert "Write it behind" in picker.message.value
    assert picker.dataset == str(some_dead)
    picker.entry.value = f"{tmp_path / 'plain'} attn_write_norm"
    assert (picker.dataset, picker.dst) == (str(tmp_path / "plain"), HEADS)
    nodes = NodePicker("one")
    traitlets.link((picker, "dataset"), (nodes, "dataset"))  # it need not be told the type again
    assert nodes.dst is HEADS
    picker.entry.value = "https://me:secret@host/x mlp_post_act"
    assert "https://host/x" in [label for label, _ in picker.datasets.options]
    assert "secret" not in str(picker.datasets.get_state()) + repr(picker) + repr(ipywidgets.VBox([picker]))
    picker.entry.value = "<script>alert(1)</script>"
    assert_harmless(picker.message.value)


# Widgets as such


def test_every_control_has_a_name() -> None:
    def controls(box: Any) -> list[Any]:
        return [each for child in box.children for each in controls(child)] if hasattr(box, "children") else [box]

    found = controls(NodePicker("one")) + controls(DatasetPicker("one"))
    named = [each for each in found if not isinstance(each, ipywidgets.HTML)]
    assert len(named) > 14
    assert all(each.description for each in named)


def test_closing_closes_all_parts() -> None:
    n_before = len(_instances)
    pickers = [NodePicker("one"), DatasetPicker("one")]
    for picker in pickers:
        picker.go("L1N1") if isinstance(picker, NodePicker) else None
        picker.close()
        picker.close()
    assert len(_instances) == n_before


def test_a_saved_notebook_says_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda *given, **_: shown.append(given[0]))
    NodePicker("one", node="L1N3")._ipython_display_()
    assert "NodePicker of layer 1, neuron 3 of one" in str(shown)
