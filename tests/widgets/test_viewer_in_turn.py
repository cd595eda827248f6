"""What comes late, or from another place: one's own text, sections and controls are those of the component on view."""

import threading
from typing import Any

import pytest

import neuron_explainer as ne
from neuron_explainer.errors import InvalidRequestError

LONG = "Mr. Darcy said to the LORD. " * 20


@pytest.fixture(autouse=True)
def two_datasets() -> None:
    """Here the registry is the real one."""


@pytest.fixture(autouse=True)
def notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path))


def _own_values(viewer: ne.NeuronViewer) -> list[float]:
    record = viewer._texts.record
    assert record is not None
    assert viewer.own_text.view.value
    return list(record.most_positive_activation_records[0].activations)


def _expected(name: str, text: str) -> list[float]:
    live = ne.live_record("tiny", name, None, [text])
    return list(live.most_positive_activation_records[0].activations)


def test_the_first_text_is_that_of_the_component_that_came_meanwhile() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    work, gate = viewer._computing._work, threading.Event()

    def late(choice: Any) -> Any:
        if choice.neuron == 355:
            assert gate.wait(20)
        return work(choice)

    viewer._computing._work = late
    viewer.own_text.write([LONG])
    viewer.own_text.compute.click()
    viewer.show("L2N5")
    gate.set()
    assert viewer.wait(60)
    assert _own_values(viewer) == _expected("L2N5", LONG)
    assert "Showing layer 2, neuron 5" in viewer.status.value


def test_an_observer_that_chooses_another_component_has_its_text() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    viewer.compute("Mr. Darcy")
    shown: list[Any] = []

    def choose(change: Any) -> None:
        shown.append(change["new"])
        if len(shown) == 1:
            viewer.show("L3N3")

    viewer.observe(choose, "record")
    viewer.show("L2N5")
    assert viewer.wait(60)
    assert viewer.node == ne.component("tiny", "L3N3").name.to_node_index()
    assert _own_values(viewer) == _expected("L3N3", "Mr. Darcy")
    assert "Showing layer 3, neuron 3" in viewer.status.value


def test_a_late_answer_does_not_replace_what_is_remembered() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    viewer.open_section("neighbours")
    first = viewer.sections.view.value
    panel: Any = viewer.sections.panels["neighbours"]
    panel.by.value = "activation"
    panel.by.value = "write"
    assert viewer.wait(60)
    assert viewer.sections.view.value == first
    viewer.search("LORD", n=3)
    found = viewer.sections.view.value
    field: Any = viewer.sections.panels["search"]
    field.query.value = " Darcy"
    field.query.value = "LORD"
    assert viewer.wait(60)
    assert viewer.sections.view.value == found


def test_the_table_and_the_code_are_of_the_text_on_view() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    viewer.compute("Mr. Darcy said")
    viewer.own_text.text.value = "And the LORD"
    assert "".join(viewer.to_dataframe()["token"]).endswith("Mr. Darcy said")
    assert "compute(['Mr. Darcy said'])" in viewer.code
    viewer.show("L2N5")
    assert viewer.wait(60)
    assert _own_values(viewer) == _expected("L2N5", "Mr. Darcy said")
    viewer.compute("")
    assert viewer.own_text.view.value == ""
    assert "Write a text" in viewer.status.value
    viewer.show("L2N6")
    assert viewer.wait(60)
    assert viewer.own_text.view.value == ""


def test_a_text_that_was_emptied_does_not_come_back() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    gate, work = threading.Event(), viewer._computing._work

    def late(choice: Any) -> Any:
        assert gate.wait(20)
        return work(choice)

    viewer._computing._work = late
    viewer.own_text.text.value = LONG
    viewer.own_text.compute.click()
    viewer.own_text.text.value = ""
    viewer.own_text.compute.click()
    gate.set()
    assert viewer.wait(60)
    assert viewer.own_text.view.value == ""


def test_the_saved_page_is_of_one_text() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    viewer.compute("Mr. Darcy said")
    viewer.compare("L2N5")
    viewer.open_section("statistics")
    assert "ne-components" in viewer.to_html()
    viewer.compute("And the LORD")
    assert "ne-components" not in viewer.to_html()  # that was on the text before


def test_explanations_are_searched_as_they_are_now() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    ne.component("tiny", "L1N3").explanations.add("likes zebracorn")
    viewer.search("zebracorn", "explanation")
    ne.component("tiny", "L2N7").explanations.add("also zebracorn")
    viewer.search("zebracorn", "explanation")
    assert set(viewer.sections.nodes.names.options) == {"L1N3", "L2N7"}


def test_a_comparison_is_bounded() -> None:
    viewer = ne.NeuronViewer("tiny", "L1N355")
    viewer.compute(LONG * 30)
    viewer.compare("L2N5", "L1N3", "L2N5")
    assert isinstance(viewer.error, InvalidRequestError)
    assert "at most 1,333 tokens" in viewer.sections.message.value  # each of three once
    viewer.compute("a text")
    viewer.compare(*(f"L0N{number}" for number in range(12)))
    assert "at most 11" in viewer.sections.message.value


def test_a_model_searches_against_habits_on_ones_own_texts() -> None:
    viewer = ne.NeuronViewer(model="tiny")
    viewer.compute(["And the LORD said unto Moses, and it was so.", "Mr. Darcy had no answer to that."])
    viewer.search("Moses", "selective", n=4)
    assert viewer.error is None
    texts = list(viewer._texts_on_view)
    expected = ne.search(ne.load_model("tiny"), "Moses", kind="selective", n=4, reference=texts)
    assert list(viewer.sections.nodes.names.options) == expected["name"].tolist()


def test_the_controls_are_those_of_the_view_after_many_threads() -> None:
    viewer = ne.NeuronViewer("tiny", "L0N0")

    def show(first: int) -> None:
        for step in range(3):
            viewer.show(0, first + step)

    for _ in range(10):
        threads = [threading.Thread(target=show, args=(first,)) for first in (10, 20, 30, 40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert viewer.wait(60)
        assert viewer.record is not None
        assert viewer.controls.choice.neuron == viewer.record.neuron_id.neuron_index


def test_the_beginning_token_is_the_same_everywhere() -> None:
    texts = ["And the LORD said", "unto Moses"]
    for begins in (True, False):
        viewer = ne.NeuronViewer("tiny", "L1N355", prepend_bos=begins)
        viewer.compute(texts)
        viewer.compare("L2N5")
        several = [ne.component("tiny", name, prepend_bos=begins) for name in ("L1N355", "L2N5")]
        assert viewer.sections.view.value == ne.compare_components(several, texts).to_html()
        assert viewer.to_dataframe().equals(several[0].activations(texts))
        assert ("which was put before it" in viewer.own_text.view.value) == begins
