"""What the page of an answer makes, it makes once: of answers that were shown before, and of what is chosen."""

import time
from collections.abc import Iterator
from html import escape
from typing import Any

import pytest

import neuron_explainer as ne
from neuron_explainer.widgets.attribution import attribution_page
from neuron_explainer.widgets.attribution.attribution_viewer import AttributionViewer
from neuron_explainer.widgets.attribution.panels import table_panel
from neuron_explainer.widgets.attribution.work import page_content
from neuron_explainer.widgets.attribution.work.last_made import LastMade


@pytest.fixture
def viewer() -> Iterator[AttributionViewer]:
    shown = AttributionViewer(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
    yield shown
    shown.close()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is made, as it is."""
    calls: list[str] = []

    def noting(name: str) -> None:
        function = getattr(page_content, name)

        def noted(*arguments: Any, **more: Any) -> Any:
            calls.append(name)
            return function(*arguments, **more)

        monkeypatch.setattr(page_content, name, noted)

    for name in ("answer_top_html", "chosen_rows", "section_html", "node_html"):
        noting(name)
    return calls


def test_going_back_makes_nothing_anew(viewer: AttributionViewer, made: list[str]) -> None:
    first, rows = viewer.top.value, viewer.nodes
    viewer.ablate("L0MLP")
    assert sorted(made) == ["answer_top_html", "chosen_rows", "section_html"]
    assert viewer.top.value != first
    viewer.back()
    viewer.forward()
    viewer.back()
    assert len(made) == 3
    assert viewer.top.value == first
    assert viewer.nodes.equals(rows)


def test_going_back_shows_the_rows_that_are_chosen_now(viewer: AttributionViewer, made: list[str]) -> None:
    viewer.ablate("L0MLP")
    viewer.table.kind.value = "head"
    assert viewer.wait(60)
    viewer.back()
    assert viewer.nodes["name"].str.contains("H").all()
    assert made.count("chosen_rows") == 2  # of the ablation, and of the answer before it


def test_measurements_are_there_when_one_comes_back(viewer: AttributionViewer) -> None:
    name = viewer.nodes["name"].iloc[0]
    viewer.verify(name)
    assert "measured" in viewer.nodes
    viewer.ablate("L0MLP")
    assert "measured" not in viewer.nodes
    viewer.back()
    assert viewer.nodes["measured"].notna().any()


def test_an_open_node_is_drawn_once_until_it_is_measured(viewer: AttributionViewer, made: list[str]) -> None:
    name = viewer.nodes["name"].iloc[0]
    viewer.show_node(name)
    viewer.ablate("L0MLP")
    viewer.back()
    assert viewer.wait(60)
    assert made.count("node_html") == 2
    viewer.verify(name)
    assert viewer.wait(60)
    assert made.count("node_html") == 3
    assert "measured" in viewer.node_panel.details.value


def test_rows_that_the_module_hides_are_made_last(viewer: AttributionViewer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert viewer.table.rows is not None
    viewer.table.rows.hides_pages = True  # as a view says
    monkeypatch.setattr(table_panel, "_PAUSE", 30.0)
    before = viewer.table.page.value
    viewer.ablate("L0MLP")
    assert viewer.table.page.value == before
    assert viewer.table.rows.table["rows"][0][0] == viewer.nodes["name"].iloc[0]
    monkeypatch.setattr(table_panel, "_PAUSE", 0.0)
    viewer.back()
    viewer.forward()
    assert viewer.wait(60)
    assert viewer.table.page.value != before
    assert escape(viewer.nodes["name"].iloc[0]) in viewer.table.page.value


def test_only_the_last_things_made_are_kept() -> None:
    made = LastMade[str, str](2)
    assert [made.of(key, key.upper) for key in "abac"] == ["A", "B", "A", "C"]
    assert made.of("a", lambda: "new") == "A"
    assert made.of("b", lambda: "new") == "new"


def test_only_what_is_typed_waits_for_more(viewer: AttributionViewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution_page, "_TYPING_PAUSE", 30.0)
    start = time.monotonic()
    viewer.table.kind.value = "head"
    assert viewer._tabling.wait(20)
    assert time.monotonic() - start < 20
    viewer.table.name.value = "L2"
    assert not viewer._tabling.wait(0.3)


def test_sums_over_tokens_are_computed_once() -> None:
    why = ne.attribute(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
    kinds = [next(iter(why.component_sums([group.node_type]))) for group in why.groups[0]]
    assert why.component_sums([kinds[0][0]]) is why.component_sums((kinds[0][0],))
    assert why.heads(3).equals(why.heads().head(3))
