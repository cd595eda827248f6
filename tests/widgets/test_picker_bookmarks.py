"""The star, the note and the list of bookmarks of a picker."""

from pathlib import Path

import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.viewers import HEADS
from neuron_explainer.components.notes.bookmarks import add_bookmark
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError
from neuron_explainer.widgets.pickers import NodePicker


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes" / "bookmarks.json"


def listed(picker: NodePicker) -> list[str]:
    return [label for label, _ in picker.bookmarks.marks.options]


def kept() -> list[list[str]]:
    return ne.bookmarks()[["subject", "name", "dst", "note"]].to_numpy().tolist()


def test_by_code() -> None:
    picker = NodePicker("one", node="L1N3")
    picker.bookmark("places")
    assert kept() == [["one", "L1N3", "mlp_post_act", "places"]]
    assert (picker.bookmarks.star.icon, picker.bookmarks.note.value) == ("star", "places")
    picker.bookmark("names")
    picker.go("L1H2")
    assert (picker.bookmarks.star.icon, picker.bookmarks.note.value) == ("star-o", "")
    picker.bookmark()
    assert listed(picker) == ["2 here", "L1H2", "L1N3: names"]
    assert listed(NodePicker("two")) == ["0 here"]
    picker.remove_bookmark()
    picker.remove_bookmark()
    assert kept() == [["one", "L1N3", "mlp_post_act", "names"]]
    with pytest.raises(InvalidRequestError, match="10,001 characters"):
        picker.bookmark("x" * 10_001)


def test_by_a_person() -> None:
    picker = NodePicker("one", node="L1N3")
    picker.bookmarks.note.value = "waits for the star"
    assert kept() == []
    picker.bookmarks.star.click()
    picker.bookmarks.note.value = "changed"
    assert kept() == [["one", "L1N3", "mlp_post_act", "changed"]]
    picker.bookmarks.star.click()
    assert kept() == []


def test_a_bookmark_leads_to_its_component() -> None:
    picker = NodePicker("one", node="L1H2")
    picker.bookmark("a head")
    picker.go("L0N1")
    for _ in range(2):  # also a second time
        picker.bookmarks.marks.index = 1
        assert (str(ne.parse_node(picker.node)), picker.dst) == ("L1H2", HEADS)
        assert picker.bookmarks.marks.label == "1 here"
        picker.go("L0N1")


def test_a_bookmark_of_something_that_is_gone_says_so() -> None:
    for name, dst in (("L9N9", "mlp_post_act"), ("nonsense", "mlp_post_act"), ("L0N0", "no type")):
        add_bookmark("one", name, dst, "")
    picker = NodePicker("one", node="L1N3")
    for place in (1, 2, 3):
        picker.bookmarks.marks.index = place
        assert 'role="alert"' in picker.message.value
        assert str(ne.parse_node(picker.node)) == "L1N3"


def test_hostile_notes_stay_texts() -> None:
    for number, text in enumerate(HOSTILE_TOKENS):
        add_bookmark("one", f"L0N{number}", "mlp_post_act", text)
    add_bookmark("one", "L1N9", "mlp_post_act", "<script>alert(1)</script>" + "x" * 9_000)
    picker = NodePicker("one", node="L1N9")
    labels = listed(picker)
    assert len(labels) == len(HOSTILE_TOKENS) + 2
    assert all(len(label) < 400 for label in labels)
    assert not set("\u202e\u2066\x00\x1b\n") & set("".join(labels))
    assert picker.bookmarks.note.value.startswith("<script>")  # a field shows it as it is
    assert "<script>" not in picker.message.value


def test_a_damaged_file_is_said_and_the_picker_lives(notes: Path) -> None:
    notes.parent.mkdir()
    notes.write_text("{")
    picker = NodePicker("one", node="L1N3")
    assert "MalformedRecordError" in picker.message.value
    picker.bookmarks.star.click()
    assert "MalformedRecordError" in picker.message.value
    with pytest.raises(MalformedRecordError):
        picker.bookmark()
    assert notes.read_text() == "{"
    picker.go("L1N4")
    assert str(ne.parse_node(picker.node)) == "L1N4"


def test_bookmarks_of_another_picker_are_seen_at_the_next_choice() -> None:
    one, other = NodePicker("one"), NodePicker("one", node="L1N3")
    other.bookmark("from there")
    one.go("L0N1")
    assert listed(one) == ["1 here", "L1N3: from there"]
