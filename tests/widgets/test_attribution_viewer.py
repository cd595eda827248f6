"""The page of an answer, without a front end: asking, changing, tracing, comparing, going back."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import neuron_explainer as ne
from neuron_explainer.errors import InvalidRequestError, PromptError
from neuron_explainer.widgets.attribution.attribution_viewer import AttributionViewer
from neuron_explainer.widgets.attribution.panels.node_panel import MEAN, NUMBER, OTHER

PROMPT, OTHER_PROMPT = "And the LORD said unto", "And the king said unto"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny")


@pytest.fixture
def viewer(model: ne.ModelContext) -> Iterator[AttributionViewer]:
    shown = AttributionViewer(model, PROMPT, " Moses", " her", other_prompt=OTHER_PROMPT)
    yield shown
    shown.close()


def settled(viewer: AttributionViewer) -> ne.Attribution:
    assert viewer.wait(60)
    assert viewer.error is None, viewer.error
    assert viewer.attribution is not None
    return viewer.attribution


def test_it_shows_what_attribute_returns(model: ne.ModelContext, viewer: AttributionViewer) -> None:
    why = ne.attribute(model, PROMPT, " Moses", " her")
    assert viewer.attribution is not None
    assert viewer.attribution.value == why.value
    assert why.inquiry.title.split(" minus")[0].replace('"', "&quot;").replace("'", "&#x27;") in viewer.top.value
    assert viewer.ask_panel.target.value == " Moses"
    assert "residue" in viewer.top.value
    assert len(viewer.nodes) == len(why.nodes(10, ["total_effect", "direct_effect", "write_norm", "activation"]))


def test_a_view_of_an_answer(model: ne.ModelContext) -> None:
    why = ne.attribute(model, PROMPT, " Moses", " her").ablate("L3H2")
    viewer = why.view()
    assert viewer.attribution is not None
    assert viewer.attribution.value == why.value
    assert [row.is_on.description for row in viewer.changes.rows] == ["L3H2 = 0"]
    viewer.changes.rows[0].remove.click()
    assert settled(viewer).value == pytest.approx(ne.attribute(model, PROMPT, " Moses", " her").value)
    with pytest.raises(InvalidRequestError, match="has its own question"):
        AttributionViewer(why, PROMPT)


def test_asking_with_the_fields(model: ne.ModelContext, viewer: AttributionViewer) -> None:
    viewer.ask_panel.prompt.value = "Mr. Darcy looked at Elizabeth and said to"
    viewer.ask_panel.target.value, viewer.ask_panel.distractor.value = " her", " him"
    viewer.ask_panel.other.value = ""
    viewer.ask_panel.ask.click()
    asked = ne.attribute(model, "Mr. Darcy looked at Elizabeth and said to", " her", " him")
    assert settled(viewer).value == asked.value
    viewer.ask_panel.swap.click()
    assert settled(viewer).value == pytest.approx(-asked.value)
    assert viewer.ask_panel.target.value == " him"
    viewer.ask_panel.target.value = '[" him", " them"]'
    viewer.ask_panel.ask.click()
    several = ne.attribute(model, "Mr. Darcy looked at Elizabeth and said to", [" him", " them"], " her")
    assert settled(viewer).value == several.value


def test_what_is_typed_is_checked(viewer: AttributionViewer) -> None:
    assert "no leading space" not in viewer.ask_panel.checked.value
    viewer.ask_panel.target.value = "Moses"
    assert "no leading space" in viewer.ask_panel.checked.value
    viewer.ask_panel.form.value = viewer.ask_panel.form.options[-1][1]
    assert "is not a token id" in viewer.ask_panel.checked.value


def test_an_error_is_shown_and_the_answer_stays(viewer: AttributionViewer) -> None:
    before = settled(viewer)
    viewer.ask_panel.prompt.value = ""
    viewer.ask_panel.ask.click()
    assert viewer.wait(60)
    assert isinstance(viewer.error, PromptError)
    assert viewer.attribution is before
    assert 'role="alert"' in viewer.status.line.value
    assert "Still showing" in viewer.status.line.value
    viewer.node_panel.node.value = "L99H9"
    viewer.node_panel.ablate.click()
    assert viewer.wait(60)
    assert "L99H9" in viewer.status.line.value or "99" in viewer.status.line.value
    assert viewer.attribution is before


def test_ablations_are_listed_switched_and_removed(model: ne.ModelContext, viewer: AttributionViewer) -> None:
    why = settled(viewer)
    viewer.node_panel.node.value = "L3H2"
    viewer.node_panel.ablate.click()
    first = settled(viewer)
    assert first.value == why.ablate("L3H2").value
    viewer.node_panel.node.value = "L1N339@3"
    viewer.node_panel.value.value = MEAN
    viewer.node_panel.ablate.click()
    second = settled(viewer)
    assert second.value == why.ablate("L3H2").ablate("L1N339@3", value="mean").value
    rows = viewer.changes.rows
    assert [row.is_on.description for row in rows] == ["L3H2 = 0", "L1N339@3 = its mean"]
    rows[0].is_on.value = False
    assert settled(viewer).value == pytest.approx(why.ablate("L1N339@3", value="mean").value)
    assert "off" in rows[0].text.value
    rows[0].is_on.value = True
    assert settled(viewer).value == second.value
    rows[1].remove.click()
    assert settled(viewer).value == first.value
    assert rows[1].layout.display == "none"
    rows[0].remove.click()
    assert settled(viewer).value == why.value
    assert viewer.changes.layout.display == "none"


def test_a_number_and_the_other_prompts_value(viewer: AttributionViewer) -> None:
    why = settled(viewer)
    viewer.node_panel.node.value = "L1N339@3"
    viewer.node_panel.value.value = NUMBER
    viewer.node_panel.number.value = 2.5
    viewer.node_panel.ablate.click()
    assert settled(viewer).value == why.ablate("L1N339@3", value=2.5).value
    viewer.node_panel.value.value = OTHER
    viewer.node_panel.node.value, viewer.node_panel.everywhere.value = "L3H2@4<-1", True
    viewer.node_panel.ablate.click()
    changed = why.ablate("L1N339@3", value=2.5).ablate("L3H2", value=OTHER_PROMPT)
    assert settled(viewer).value == changed.value


def test_tracing_and_going_back_and_forward(viewer: AttributionViewer) -> None:
    why = settled(viewer)
    viewer.node_panel.node.value, viewer.node_panel.through.value = "L3H0@4<-1", "q"
    viewer.node_panel.trace.click()
    traced = settled(viewer)
    assert traced.value == why.trace("L3H0@4<-1", "q").value
    assert viewer.status.leave.layout.display == ""
    viewer.status.leave.click()
    assert settled(viewer) is why
    viewer.status.back.click()
    assert settled(viewer) is traced
    viewer.status.back.click()
    assert settled(viewer) is why
    assert viewer.status.back.disabled
    viewer.forward()
    assert viewer.attribution is traced
    viewer.ask("And the king said unto", " him", " her")
    assert viewer.status.forward.disabled


def test_two_prompts_side_by_side(viewer: AttributionViewer) -> None:
    why = settled(viewer)
    viewer.status.compares.value = True
    assert settled(viewer) is why
    assert viewer.comparison is not None
    assert viewer.comparison.difference == why.compare(OTHER_PROMPT).difference
    assert "difference" in viewer.nodes.columns
    assert "of the first prompt" in viewer.sections.view.value
    assert "the first minus the second" in viewer.to_html()
    viewer.ask_panel.other.value = "And the"
    viewer.ask_panel.ask.click()
    assert viewer.wait(60)
    assert isinstance(viewer.error, PromptError)
    assert viewer.comparison is not None
    viewer.status.compares.value = False
    settled(viewer)
    assert viewer.comparison is None


def test_the_newest_question_wins(viewer: AttributionViewer, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer: Any = viewer._explorer
    answer, gate, begun = type(explorer).answer, threading.Event(), threading.Event()

    def slow(self: Any, asked: Any) -> Any:
        if asked.changes and asked.changes[-1].node == "L3H2":
            begun.set()
            assert gate.wait(30)
        return answer(self, asked)

    monkeypatch.setattr(type(explorer), "answer", slow)
    why = settled(viewer)
    viewer.node_panel.node.value = "L3H2"
    viewer.node_panel.ablate.click()
    assert begun.wait(30)
    viewer.node_panel.node.value = "L2H3"
    viewer.node_panel.ablate.click()
    newest = settled(viewer)
    gate.set()
    assert newest.value == why.ablate("L2H3").value
    assert settled(viewer) is newest


def test_the_state_comes_back(model: ne.ModelContext, viewer: AttributionViewer) -> None:
    viewer.ablate("L3H2")
    viewer.trace("L2H3@4<-1", "k")
    viewer.table.kind.value, viewer.table.n.value = "head", 7
    viewer.show_node("L1H1@3<-2")
    viewer.keep.notes.value = "so it was"
    assert viewer.wait(60)
    state = json.loads(json.dumps(viewer.state))
    again = AttributionViewer(model, "Once upon a", " time")
    again.state = state
    assert again.wait(60)
    assert again.state == state
    assert again.attribution is not None
    assert viewer.attribution is not None
    assert again.attribution.value == viewer.attribution.value
    assert again.node == "L1H1@3<-2"
    assert again.keep.notes.value == "so it was"
    assert len(again.nodes) == 4 * 7 or len(again.nodes) <= 28


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"format": 2},
        {"format": 1, "asked": {"prompt": 5}},
        {"format": 1, "asked": {"prompt": "a"}, "section": "nowhere"},
        {"format": 1, "asked": {"prompt": "a"}, "table": {"n": 10**9}},
        {"format": 1, "asked": {"prompt": "a"}, "table": {"kind": ["head"]}},
        {"format": 1, "asked": {"prompt": "a"}, "notes": 5},
        {"format": 1, "asked": {"prompt": "a"}, "more": 5},
    ],
)
def test_a_state_is_checked(viewer: AttributionViewer, wrong: Any) -> None:
    before = viewer.state
    with pytest.raises(InvalidRequestError):
        viewer.state = wrong
    assert viewer.state == before


def test_the_code_gives_what_is_on_view(viewer: AttributionViewer) -> None:
    viewer.ablate("L3H2")
    viewer.ablate("L2H3", "other")
    viewer.trace("L1N5@3")
    names: dict[str, Any] = {}
    exec(viewer.code, names)
    found = [value for value in names.values() if isinstance(value, ne.Attribution)]
    assert viewer.attribution is not None
    assert viewer.attribution.value in [each.value for each in found]


def test_observers_are_called_when_the_answer_is_on_view(viewer: AttributionViewer) -> None:
    seen: list[tuple[str, bool]] = []

    def note(change: Any) -> None:
        seen.append((change.name, "L3H2" in viewer.changes.rows[0].text.value))

    viewer.observe(note, "attribution")
    viewer.ablate("L3H2")
    assert seen == [("attribution", True)]
    with pytest.raises(Exception, match="read-only"):
        viewer.attribution = None  # type: ignore[misc]
