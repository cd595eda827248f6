"""The page's table, its pictures, and the node that is open."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import neuron_explainer as ne
from helpers.explanations import PRESENT
from neuron_explainer.activation_server import neuron_datasets
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata
from neuron_explainer.widgets.attribution.attribution_viewer import AttributionViewer
from neuron_explainer.widgets.attribution.work.sections import Section

PROMPT = "And the LORD said unto"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny")


@pytest.fixture
def viewer(model: ne.ModelContext) -> Iterator[AttributionViewer]:
    shown = AttributionViewer(model, PROMPT, " Moses", " her")
    yield shown
    shown.close()


def names(viewer: AttributionViewer) -> list[str]:
    assert viewer.wait(60)
    return viewer.nodes["name"].tolist()


def test_the_rows_that_are_chosen(viewer: AttributionViewer) -> None:
    why = viewer.attribution
    assert why is not None
    viewer.table.n.value, viewer.table.by.value = 30, "total_effect"
    assert names(viewer) == why.nodes(30)["name"].tolist()
    viewer.table.kind.value = "head"
    assert names(viewer) == why.nodes(30, kinds="head")["name"].tolist()
    viewer.table.layer.value, viewer.table.token.value = 2, 4
    assert names(viewer) == why.nodes(30, kinds="head", layers=2, tokens=4)["name"].tolist()
    viewer.table.name.value = "L2H3"
    chosen = names(viewer)
    assert chosen
    assert all(name.startswith("L2H3@4<-") for name in chosen)
    viewer.table.name.value = "h1@"
    assert all("H1@" in name for name in names(viewer))
    viewer.table.name.value = ""
    viewer.table.column.value, viewer.table.is_descending.value = "activation", False
    assert viewer.wait(60)
    assert viewer.nodes["activation"].is_monotonic_increasing


def test_rows_without_the_module(model: ne.ModelContext) -> None:
    viewer = AttributionViewer(model, PROMPT, " Moses", " her", core_controls_only=True)
    assert viewer.table.rows is None
    viewer.table.n.value, viewer.table.by.value = 60, "total_effect"
    listed = names(viewer)
    assert f">{listed[49].replace('<', '&lt;')}" in viewer.table.page.value
    viewer.table.after.click()
    assert f">{listed[59].replace('<', '&lt;')}" in viewer.table.page.value
    assert viewer.table.after.disabled
    viewer.table.before.click()
    assert viewer.table.before.disabled


def test_the_modules_messages(viewer: AttributionViewer) -> None:
    rows: Any = viewer.table.rows
    node = names(viewer)[0]

    def send(content: dict[str, Any]) -> None:
        rows._handle_custom_msg(content, [])
        assert viewer.wait(60)

    send({"kind": "open", "node": node, "number": 1})
    assert (viewer.node, rows.taken, rows.chosen) == (node, 1, node)
    why = viewer.attribution
    assert why is not None
    send({"kind": "ablate", "node": node, "number": 2})
    assert viewer.attribution is not None
    assert viewer.attribution.value == why.ablate(node).value
    send({"kind": "verify", "node": node, "number": 3})
    assert "measured" in viewer.nodes.columns
    send({"kind": "delete", "node": node, "number": 4})
    assert rows.taken == 3


def test_a_node_at_a_token_of_a_long_answer(viewer: AttributionViewer) -> None:
    viewer.ask(PROMPT, " the king", " Moses, Speak")
    why = viewer.attribution
    assert why is not None
    last = max(len(effects.prompt.token_ids) for effects in why.effects) - 1
    assert last >= len(why.effects[0].prompt.token_ids)
    viewer.node_panel.node.value = f"L1N339@{last}"
    viewer.node_panel.opens.click()
    assert viewer.wait(60)
    assert viewer.error is None
    assert viewer.node == f"L1N339@{last}"


def test_verifying_puts_the_measurement_beside_the_estimate(viewer: AttributionViewer) -> None:
    why = viewer.attribution
    assert why is not None
    first = names(viewer)[0]
    viewer.verify(first)
    assert viewer.wait(60)
    frame = viewer.nodes
    row = frame[frame["name"] == first].iloc[0]
    assert row["measured"] == pytest.approx(why.verify([first])["measured"].iloc[0])
    assert frame["measured"].notna().sum() == 1
    assert viewer.table.rows is not None
    assert [each["name"] for each in viewer.table.rows.table["columns"]][-2:] == ["total_effect", "measured"]


def test_a_node_is_opened_with_its_record(viewer: AttributionViewer) -> None:
    viewer.node_panel.node.value = "L2N5@3"
    viewer.node_panel.opens.click()
    assert viewer.wait(60)
    assert viewer.node == "L2N5@3"
    assert "L2N5" in viewer.node_panel.details.value
    (record,) = viewer.node_panel.record.children
    assert isinstance(record, ne.NeuronViewer)
    assert record.node is not None
    assert (record.node.layer_index, record.node.tensor_indices[-1]) == (2, 5)
    viewer.show_node("L3H1@4<-2")
    assert viewer.wait(60)
    (record,) = viewer.node_panel.record.children
    assert record.node.node_type.value == "attention_head"
    viewer.show_node("L2N6@1")
    assert viewer.wait(60)
    assert viewer.node_panel.record.children[0].node.tensor_indices[-1] == 6


def test_a_model_without_a_dataset_computes_the_record(model: ne.ModelContext) -> None:
    transformer = model.get_or_create_model()
    own = ne.StandardModelContext("my own", transformer, model.tokenizer)
    viewer = AttributionViewer(own, PROMPT, " Moses", " her")
    viewer.show_node("L2N5@3")
    assert viewer.wait(60)
    (record,) = viewer.node_panel.record.children
    assert " LORD" in "".join(record.record.most_positive_activation_records[0].tokens)


def test_another_models_dataset_and_its_explanations(
    model: ne.ModelContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neuron_datasets, "NEURON_DATASET_METADATA_REGISTRY", {})
    explanation = PRESENT | {"neuron_id": PRESENT["neuron_id"] | {"layer_index": 2, "neuron_index": 5}}
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "5.jsonl").write_text(json.dumps(explanation))
    record = ne.NeuronRecord(ne.NeuronId(2, 5), [ne.ActivationRecord(["recorded"], [1.0])])
    ne.save_neuron(tmp_path / "records", record)
    dst = ne.DerivedScalarType.MLP_POST_ACT
    ne.register_neuron_dataset_metadata(
        NeuronDatasetMetadata("my own", dst, "mine", str(tmp_path / "records"), 4, 512, explanations_path=str(tmp_path))
    )
    own = ne.StandardModelContext("my own", model.get_or_create_model(), model.tokenizer)
    viewer = AttributionViewer(own, PROMPT, " Moses", " her")
    viewer.show_node("L2N5@3")
    explained, recorded, on_prompt = viewer.node_panel.record.children
    assert "the word b" in explained.value
    assert "recorded" in recorded.to_html()
    assert " LORD" in "".join(on_prompt.record.most_positive_activation_records[0].tokens)


def test_the_pictures(viewer: AttributionViewer) -> None:
    marks = {
        Section.TOKENS: "embedding",
        Section.HEADS: "Direct effects of heads",
        Section.LAYERS: "data-ne-node",
        Section.PATTERN: "Attention of L",
        Section.PATTERNS: "<img",
    }
    for section, mark in marks.items():
        viewer.sections.section.value = section
        assert viewer.wait(60)
        assert mark in viewer.sections.view.value
    viewer.sections.section.value = Section.PATTERN
    viewer.show_node("L1H2@3<-1")
    assert viewer.wait(60)
    assert "Attention of L1H2" in viewer.sections.view.value
    viewer.sections.head.value = "L9H9"
    assert viewer.wait(60)
    assert 'role="alert"' in viewer.sections.view.value


def test_the_page_is_saved_with_notes_and_code(viewer: AttributionViewer, tmp_path: Path) -> None:
    viewer.ablate("L3H2")
    viewer.keep.notes.value = "a <b>note</b>"
    viewer.keep.path.value = str(tmp_path / "why.html")
    viewer.keep.save.click()
    page = (tmp_path / "why.html").read_text()
    assert "a &lt;b&gt;note&lt;/b&gt;" in page
    assert "ne.attribute(" in page
    assert "L3H2" in page
    viewer.keep.path.value = "https://example.org/why.html"
    viewer.keep.save.click()
    assert 'role="alert"' in viewer.keep.said.value
