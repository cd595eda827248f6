"""The sections of a viewer's page: what they show is what the plain library says; they are computed once, and kept."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import neuron_explainer as ne
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, UnknownNameError
from neuron_explainer.views.components.directions import directions_section, neighbours_section
from neuron_explainer.views.components.statistics import component_statistics_html
from neuron_explainer.views.document import card
from neuron_explainer.widgets.neurons.sections import answers

NEURON, HEAD = "L1N355", "L3H2"


@pytest.fixture(autouse=True)
def two_datasets() -> None:
    """Here the registry is the real one."""


@pytest.fixture(autouse=True)
def notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path))


@pytest.fixture
def viewer() -> Iterator[ne.NeuronViewer]:
    made = ne.NeuronViewer("tiny", NEURON)
    yield made
    made.close()


def test_what_it_writes_and_reads(viewer: ne.NeuronViewer) -> None:
    viewer.open_section("directions")
    assert viewer.sections.view.value == card(directions_section(ne.component("tiny", NEURON), 10), "ne-section")
    viewer.sections.panels["directions"].n.value = 3
    assert viewer.wait(60)
    assert viewer.sections.view.value == card(directions_section(ne.component("tiny", NEURON), 3), "ne-section")


def test_neighbours_are_gone_to(viewer: ne.NeuronViewer) -> None:
    viewer.open_section("neighbours")
    found = ne.component("tiny", NEURON).neighbours(10)
    assert viewer.sections.view.value == card(neighbours_section(found, "write"), "ne-section")
    nodes = viewer.sections.nodes
    assert list(nodes.names.options) == found["name"].tolist()
    nodes.names.value = found["name"][2]
    nodes.go.click()
    assert viewer.wait(60)
    assert viewer.node == ne.component("tiny", found["name"][2]).name.to_node_index()
    again = ne.component("tiny", found["name"][2]).neighbours(10)
    assert list(nodes.names.options) == again["name"].tolist()  # those of the one on view now


def test_statistics(viewer: ne.NeuronViewer) -> None:
    viewer.open_section("statistics")
    assert viewer.sections.view.value == component_statistics_html(ne.component("tiny", NEURON).statistics)


def test_an_answer_is_computed_once(viewer: ne.NeuronViewer, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer.open_section("neighbours")
    first = viewer.sections.view.value
    viewer.show("L1N356")
    assert viewer.wait(60)
    monkeypatch.setattr(answers.Answers, "of", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(viewer._answering, "_work", lambda _: pytest.fail("computed again"))
    viewer.show(NEURON)
    assert viewer.sections.view.value == first
    viewer.sections.tabs.value = "examples"
    viewer.sections.tabs.value = "neighbours"
    assert viewer.sections.view.value == first


def test_a_search_is_stepped_through(viewer: ne.NeuronViewer) -> None:
    viewer.search(" LORD", n=4)
    found = ne.search("tiny", " LORD", n=4)["name"].tolist()
    nodes = viewer.sections.nodes
    assert list(nodes.names.options) == found
    nodes.go.click()
    assert viewer.wait(60)
    for name in [*found[1:], found[0]]:
        nodes.next.click()
        assert viewer.wait(60)
        assert viewer.sections.section == "search"
        assert list(nodes.names.options) == found
        assert viewer.node == ne.component("tiny", name).name.to_node_index()
    viewer.search("And the LORD said", "selective", n=3, in_model=True)
    live = ne.search("tiny", "And the LORD said", kind="selective", n=3, model="tiny")
    assert list(nodes.names.options) == live["name"].tolist()
    viewer.search("no such words", "explanation")
    assert isinstance(viewer.error, InvalidRequestError)
    assert "No explanations" in viewer.sections.message.value
    assert viewer.record is not None


def test_an_empty_search_and_comparison_say_what_to_do(viewer: ne.NeuronViewer) -> None:
    viewer.open_section("search")
    assert "Write a text and click Search" in viewer.sections.message.value
    viewer.open_section("compare")
    assert "Write the components beside it" in viewer.sections.message.value
    viewer.compare("L2N5")
    assert viewer.error is None
    viewer.sections.panels["compare"].others.value = "L9N9"
    viewer.sections.panels["compare"].compare.click()
    assert viewer.wait(60)
    assert isinstance(viewer.error, InvalidRequestError)


def test_a_comparison_is_on_ones_own_texts_or_else_stored_ones(viewer: ne.NeuronViewer) -> None:
    viewer.compare("L2N5", "L1N3")
    assert viewer.record is not None
    stored = ["".join(each.tokens) for each in viewer.record.most_positive_activation_records[:3]]
    several = [ne.component("tiny", name) for name in (NEURON, "L2N5", "L1N3")]
    assert viewer.sections.view.value == ne.compare_components(several, stored).to_html()
    viewer.compute(["And the LORD said", "unto Moses"])
    own = ne.compare_components(several, ["And the LORD said", "unto Moses"]).to_html()
    assert viewer.wait(60)
    assert viewer.sections.view.value == own
    assert viewer.code.splitlines()[-2:] == ["viewer.compare('L2N5', 'L1N3')", "viewer"]


def test_ones_own_explanations_are_kept_and_removed(viewer: ne.NeuronViewer) -> None:
    viewer.open_section("explanations")
    panel: Any = viewer.sections.panels["explanations"]
    panel.text.value = "names <b>after</b> a quotation"
    panel.add.click()
    assert viewer.wait(60)
    assert "names &lt;b&gt;after&lt;/b&gt; a quotation" in viewer.sections.view.value
    assert list(ne.component("tiny", NEURON).explanations) == ["names <b>after</b> a quotation"]
    panel.remove.click()
    assert viewer.wait(60)
    assert list(ne.component("tiny", NEURON).explanations) == []
    panel.remove.click()
    assert viewer.wait(60)
    assert isinstance(viewer.error, InvalidRequestError)


def test_heads_have_two_sections_more(viewer: ne.NeuronViewer) -> None:
    with pytest.raises(UnknownNameError, match="attention"):
        viewer.open_section("attention")
    viewer.show(HEAD)
    viewer.open_section("attention")
    panel: Any = viewer.sections.panels["attention"]
    assert viewer.record is not None
    example = viewer.record.most_positive_activation_records[0]
    assert panel.token.max == len(example.tokens) - 1
    viewer._acted("token", "3")
    assert viewer.wait(60)
    assert "at position 3" in viewer.sections.view.value
    viewer.open_section("heads")
    assert f"{HEAD} among all heads" in viewer.sections.view.value
    scores = ne.head_scores("tiny", progress=False)
    rank = int(scores["induction"].rank(ascending=False)[scores["name"] == HEAD].iloc[0])
    assert f"{rank} of {len(scores)}" in viewer.sections.view.value
    viewer.show(NEURON)
    assert viewer.sections.section == "examples"


def test_what_was_opened_is_in_the_static_page(viewer: ne.NeuronViewer) -> None:
    viewer.open_section("directions")
    viewer.open_section("neighbours")
    page = viewer.to_html()
    assert "What it writes" in page
    assert "Neighbours by what they write" in page
    assert len(page) < 500_000
    viewer.show("L1N356")
    assert viewer.wait(60)
    assert "What it writes" not in viewer.to_html()  # that was of another neuron
    assert "Neighbours by what they write" in viewer.to_html()  # the section that is open


def test_the_page_of_an_answer_that_comes_late_is_that_of_the_node_on_view(viewer: ne.NeuronViewer) -> None:
    gate = threading.Event()
    work = viewer._answering._work

    def late(task: Any) -> Any:
        if task.choice.neuron == 355:
            assert gate.wait(20)
        return work(task)

    viewer._answering._work = late
    viewer.sections.tabs.value = "neighbours"
    viewer.show("L1N356")
    assert viewer.wait(60)
    shown = viewer.sections.view.value
    gate.set()
    assert viewer.wait(60)
    assert viewer.sections.view.value == shown
    assert shown == card(neighbours_section(ne.component("tiny", "L1N356").neighbours(10), "write"), "ne-section")


def test_stopping_a_section_keeps_the_page(viewer: ne.NeuronViewer) -> None:
    gate = threading.Event()

    def late(_: Any) -> Any:
        gate.wait(20)

    viewer._answering._work = late
    viewer.sections.tabs.value = "statistics"
    assert viewer.sections.stop.layout.display == ""
    viewer.sections.stop.click()
    gate.set()
    assert "StoppedError" in viewer.sections.message.value
    assert viewer.sections.stop.layout.display == "none"
    assert viewer.record is not None


def test_memory_of_answers_is_bounded(viewer: ne.NeuronViewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuron_explainer.widgets.neurons.sections.remembered._MOST_CHARACTERS", 60_000)
    viewer.open_section("statistics")
    for neuron in range(8):
        viewer.show(f"L0N{neuron}")
        assert viewer.wait(60)
    held = viewer._remembered
    assert sum(len(answer.html) for _, answer in held._answers.values()) == held._size <= 60_000


def test_a_record_is_drawn_once(viewer: ne.NeuronViewer, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(record: ne.NeuronRecord, **options: Any) -> str:
        drawn.append(record)
        return ne.record_to_html(record, **options)

    monkeypatch.setattr("neuron_explainer.widgets.neurons.viewer_page.record_to_html", draw)
    viewer.show("L1N2")
    first = viewer.to_html()
    viewer.show("L1N3")
    assert viewer.to_html() != first
    viewer.show("L1N2")
    assert viewer.to_html() == first
    assert len(drawn) == 2
    assert viewer.record is not None
    other = replace(viewer.record, mean=123.0)  # the file has changed
    monkeypatch.setattr(viewer._source, "load", lambda choice: other)
    viewer._loading._work = viewer._source.load
    viewer.show("L1N2")
    assert "123" in viewer.to_html()
    assert len(drawn) == 3


def test_what_needs_a_model_says_so(tmp_path: Any) -> None:
    ne.save_neuron(tmp_path, ne.load_neuron("tiny", NEURON))
    viewer = ne.NeuronViewer(tmp_path, NEURON, dst="mlp_post_act")
    viewer.open_section("directions")
    assert isinstance(viewer.error, NotAtHandError)
    assert "pass model=" in viewer.sections.message.value
    with pytest.raises(NotAtHandError, match="pass model="):
        viewer.compute("a text")
    viewer.open_section("statistics")
    assert viewer.error is None
    both = ne.NeuronViewer(tmp_path, NEURON, dst="mlp_post_act", model="tiny")
    both.open_section("directions")
    assert both.error is None
    both.compute("And the LORD")
    assert both.error is None
    assert both.own_text.view.value
