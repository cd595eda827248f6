"""Bookmarks in their small file: kept once, exchanged, damaged, written by several processes."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.components.notes.bookmarks import (
    BOOKMARKS,
    add_bookmark,
    bookmark_subject,
    bookmarks_of,
    drop_bookmark,
)
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError

MLP = "mlp_post_act"


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes" / "bookmarks.json"


def names_and_notes(subject: str) -> list[tuple[str, str]]:
    return [(each.name, each.note) for each in bookmarks_of(subject)]


def test_a_component_is_marked_once() -> None:
    add_bookmark("tiny", "L2N5", MLP, "places")
    add_bookmark("tiny", "L2N6", MLP, "")
    add_bookmark("other", "L2N5", MLP, "elsewhere")
    add_bookmark("tiny", "L2N5", MLP, "names")
    assert names_and_notes("tiny") == [("L2N5", "names"), ("L2N6", "")]
    drop_bookmark("tiny", "L2N5", MLP)
    drop_bookmark("tiny", "L2N5", MLP)
    assert names_and_notes("tiny") == [("L2N6", "")]
    table = ne.bookmarks()
    assert table[["subject", "name", "dst", "note"]].values.tolist() == [
        ["tiny", "L2N6", MLP, ""],
        ["other", "L2N5", MLP, "elsewhere"],
    ]
    assert table["when"].str.endswith("+00:00").all()


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_they_are_written_and_read_again(suffix: str, tmp_path: Path, notes: Path) -> None:
    add_bookmark("tiny", "L2N5", MLP, "two\nlines, “quoted”")
    add_bookmark("tiny", "L2N6", MLP, "")
    before, file = ne.bookmarks(), tmp_path / f"mine.{suffix}"
    assert ne.export_bookmarks(file) == 2
    notes.unlink()
    assert ne.bookmarks().empty
    add_bookmark("tiny", "L2N6", MLP, "a note of today")
    assert ne.import_bookmarks(file) == 1
    assert dict(names_and_notes("tiny")) == {"L2N5": "two\nlines, “quoted”", "L2N6": "a note of today"}
    notes.unlink()
    assert ne.import_bookmarks(file) == 2
    assert ne.bookmarks().equals(before)
    assert ne.import_bookmarks(file) == 0


def test_as_a_table_for_other_programs(tmp_path: Path) -> None:
    add_bookmark("tiny", "L2N5", MLP, 'with "quotes", and\na line')
    assert ne.export_bookmarks(tmp_path / "mine.csv") == 1
    with open(tmp_path / "mine.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["subject"], row["name"], row["note"]) == ("tiny", "L2N5", 'with "quotes", and\na line')
    with pytest.raises(InvalidRequestError, match=r"Choose one of: \.json, \.jsonl"):
        ne.import_bookmarks(tmp_path / "mine.csv")


def test_one_that_stands_twice_in_a_file_counts_once(tmp_path: Path) -> None:
    line = '{"subject": "tiny", "name": "L2N5", "dst": "mlp_post_act", "note": "%s"}\n'
    (tmp_path / "mine.jsonl").write_text(line % "first" + line % "second")
    assert ne.import_bookmarks(tmp_path / "mine.jsonl") == 1
    assert names_and_notes("tiny") == [("L2N5", "first")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"version": 1, "bookmarks": [{"subject": 1}]}',
        b'{"version": 2, "bookmarks": []}',
        b'{"version": 1, "bookmarks": [{"subject": "a", "name": "b", "dst": "c", "note": "%s"}]}' % (b"x" * 10_001),
        b'{"version": 1, "bookmarks": [{"subject": "%s", "name": "b", "dst": "c"}]}' % (b"x" * 2_001),
    ],
    ids=range(7),
)
def test_a_damaged_file_is_left_as_it_is(content: bytes, notes: Path, tmp_path: Path) -> None:
    notes.parent.mkdir()
    notes.write_bytes(content)
    for act in (lambda: add_bookmark("tiny", "L2N5", MLP, ""), lambda: bookmarks_of("tiny"), ne.bookmarks):
        with pytest.raises(MalformedRecordError, match=r"bookmarks\.json"):
            act()
    assert notes.read_bytes() == content
    (tmp_path / "other.json").write_bytes(content)
    notes.unlink()
    with pytest.raises(MalformedRecordError, match=r"other\.json"):
        ne.import_bookmarks(tmp_path / "other.json")


def test_a_note_of_any_text_stays_a_text() -> None:
    for number, text in enumerate(HOSTILE_TOKENS):
        add_bookmark("tiny", f"L0N{number}", MLP, text)
    assert [note for _, note in names_and_notes("tiny")] == HOSTILE_TOKENS
    assert "\u202e" not in "".join(ne.bookmarks()["note"])
    for wrong in ("x" * 10_001, "\ud800", 5):
        with pytest.raises(InvalidRequestError):
            add_bookmark("tiny", "L0N0", MLP, wrong)  # type: ignore[arg-type]


def test_a_dataset_has_one_spelling_without_what_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        bookmark_subject("https://me:key@host/data?sig=1")
        == bookmark_subject("https://host/data")
        == "https://host/data"
    )
    assert bookmark_subject("tiny") == "tiny"
    assert bookmark_subject("owner:model") == "owner:model"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    assert (
        bookmark_subject("./records/")
        == bookmark_subject(str(tmp_path / "records" / ".." / "records"))
        == str(tmp_path / "records")
    )


ADDING = """
import sys
from neuron_explainer.components.notes.bookmarks import add_bookmark
for number in range(8):
    add_bookmark("tiny", f"L{sys.argv[1]}N{number}", "mlp_post_act", "")
"""


def test_several_processes_lose_nothing() -> None:
    running = [subprocess.Popen([sys.executable, "-c", ADDING, str(number)]) for number in range(2)]
    assert [each.wait() for each in running] == [0, 0]
    assert len(ne.bookmarks()) == 16


def test_only_its_user_reads_it_and_clearing_the_cache_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEURON_EXPLAINER_NOTES")
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))
    add_bookmark("tiny", "L2N5", MLP, "")
    assert tmp_path / "cache" / "bookmarks.json" == BOOKMARKS.path
    assert BOOKMARKS.path.stat().st_mode & 0o077 == 0
    ne.clear_cache()
    assert len(ne.bookmarks()) == 1
