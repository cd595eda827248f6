"""Published explanations of a component, and one's own, which several processes may write."""

import csv
import json
import subprocess
import sys
from typing import Any

import pytest

import neuron_explainer as ne
from helpers.explanations import PRESENT
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless
from helpers.loopback_server import loopback_server, ok
from neuron_explainer.components.explanations.own_file import OWN_EXPLANATIONS
from neuron_explainer.errors import MalformedRecordError
from neuron_explainer.explanations import Explanation, ExplanationScore


@pytest.fixture(autouse=True)
def notes(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes" / "own_explanations.json"


def test_one_s_own_are_kept_by_component():
    explanations = ne.component("tiny", "L2N5").explanations
    explanations.add("places", 0.25)
    explanations.add("names")
    explanations.add("places", 0.5)
    ne.component("tiny", "L2N6").explanations.add("other")
    assert [(each.text, each.score) for each in explanations.own] == [("places", 0.5), ("names", None)]
    explanations.remove("names")
    assert list(explanations) == ["places"]
    assert ne.own_explanations()["name"].tolist() == ["L2N5", "L2N6"]
    with pytest.raises(ne.errors.InvalidRequestError, match=r"of your own\. It has: 'places'"):
        explanations.remove("names")
    for text, score in [("", None), ("x" * 10_001, None), ("x", float("nan"))]:
        with pytest.raises(ne.errors.InvalidRequestError):
            explanations.add(text, score)


def test_what_was_written_and_scored_is_kept():
    explanations = ne.component("tiny", "L2N5").explanations
    explanation = Explanation("names", "patterns")
    explanations.add(explanation, score_of(0.25))
    assert [(each.text, each.score) for each in explanations.own] == [("names", 0.25)]
    explanations.add(explanation)
    assert [(each.text, each.score) for each in explanations.own] == [("names", None)]
    with pytest.raises(ne.errors.InvalidRequestError, match="Give a finite number"):
        explanations.add(explanation, score_of(float("nan")))


def score_of(value: float) -> ExplanationScore:
    return ExplanationScore("names", "L2N5", "embedding", "AUROC", value)


def test_published_ones(tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "7.jsonl").write_text(json.dumps(PRESENT))
    explanations = ne.component("tiny", "L3N7", explanations=tmp_path).explanations
    assert list(explanations) == ["the word b"]
    assert len(explanations) == 1
    table = explanations.simulations()
    assert table[["token", "simulated", "real"]].values.tolist() == [["a", 1.0, 0.0], ["b", 9.0, 0.5]]
    frame: Any = explanations.to_dataframe()
    assert frame.loc[0, ["source", "ev_correlation_score", "n_sequences"]].tolist() == ["published", 0.5, 1]
    html = explanations._repr_html_()
    assert html.count(">simulated<") == 1
    assert_harmless(html)
    assert ne.component("tiny", "L3N8", explanations=tmp_path).explanations.published is None
    with pytest.raises(ne.errors.InvalidRequestError):
        explanations.simulations(1)


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_they_are_written_and_read_again(suffix, tmp_path, notes):
    explanations = ne.component("tiny", "L2N5").explanations
    explanations.add("two\nlines, “quoted”", -0.5)
    explanations.add("without a score")
    before, file = ne.own_explanations(), tmp_path / f"mine.{suffix}"
    assert ne.export_explanations(file) == 2
    notes.unlink()
    assert ne.import_explanations(file) == 2
    assert ne.own_explanations().equals(before)
    assert ne.import_explanations(file) == 0
    assert len(ne.own_explanations()) == 2


def test_as_a_table_for_other_programs(tmp_path):
    ne.component("tiny", "L2N5").explanations.add('with "quotes", and\na line', 1.5)
    assert ne.export_explanations(tmp_path / "mine.csv") == 1
    with open(tmp_path / "mine.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["name"], row["text"], row["score"]) == ("L2N5", 'with "quotes", and\na line', "1.5")
    for ask in (ne.export_explanations, ne.import_explanations):
        with pytest.raises(ne.errors.InvalidRequestError, match="Choose one of"):
            ask(tmp_path / "mine.txt")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"subject": 1}', b"\xff", b'{"subject": "a", "name": "b"}'])
def test_a_file_of_another_kind_adds_nothing(content, tmp_path):
    file = tmp_path / "other.jsonl"
    file.write_bytes(content)
    with pytest.raises(MalformedRecordError, match=r"other\.jsonl"):
        ne.import_explanations(file)
    assert ne.own_explanations().empty


def test_what_would_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("neuron_explainer.components.notes.kept_file.MOST_BYTES", 500)
    explanations = ne.component("tiny", "L2N5").explanations
    explanations.add("x" * 100)
    with pytest.raises(ne.errors.InvalidRequestError, match="over the limit"):
        explanations.add("x" * 400)
    assert len(explanations) == 1


def test_a_name_means_the_dataset_or_model_it_was_written_for():
    ne.component("tiny", "L2N5").explanations.add("of the dataset")
    model = ne.load_model("tiny", device="cpu", name="another")
    assert list(ne.component(model, "L2N5").explanations) == []


def test_published_ones_over_http(no_cache):
    with loopback_server() as server:
        server.routes["/data/3/7.jsonl"] = ok(json.dumps(PRESENT).encode())
        explanations = ne.component("tiny", "L3N7", explanations=f"{server.address}/data").explanations
        assert not server.requests  # until they are asked for
        assert list(explanations) == ["the word b"]
        assert len(explanations) == 1
        assert len(server.requests) == 1
        assert ne.component("tiny", "L3N8", explanations=f"{server.address}/data").explanations.published is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"explanations": [{"subject": 1}]}', b"\xff"])
def test_a_damaged_file_is_left_as_it_is(content, notes):
    notes.parent.mkdir()
    notes.write_bytes(content)
    with pytest.raises(MalformedRecordError, match="own_explanations"):
        ne.component("tiny", "L2N5").explanations.add("text")
    assert notes.read_bytes() == content


ADDING = """
import sys, neuron_explainer as ne
for number in range(8):
    ne.component("tiny", "L2N5").explanations.add(f"{sys.argv[1]} {number}")
"""


def test_several_processes_lose_nothing():
    running = [subprocess.Popen([sys.executable, "-c", ADDING, str(number)]) for number in range(3)]
    assert [each.wait() for each in running] == [0, 0, 0]
    assert len(ne.own_explanations()) == 24


def test_only_its_user_reads_it_and_clearing_the_cache_leaves_it(tmp_path, monkeypatch):
    monkeypatch.delenv("NEURON_EXPLAINER_NOTES")
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))
    ne.component("tiny", "L2N5").explanations.add("text")
    assert OWN_EXPLANATIONS.path.parent == tmp_path / "cache"
    assert OWN_EXPLANATIONS.path.stat().st_mode & 0o077 == 0
    ne.clear_cache()
    assert len(ne.own_explanations()) == 1


def test_hostile_texts_stay_texts():
    explanations = ne.component("tiny", "L2N5").explanations
    for text in HOSTILE_TOKENS:
        if text.strip():
            explanations.add(text)
    assert_harmless(explanations._repr_html_())


def test_a_folder_has_one_spelling(tmp_path, monkeypatch):
    ne.collate(ne.load_model("tiny", device="cpu"), "And the LORD said", tmp_path / "data", layers=[1], progress=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = ["data", "./data", "data/", "~/data", tmp_path / "data", tmp_path / "x" / ".." / "data"]
    ne.component("data", "L1N5").explanations.add("of a folder")
    for each in spellings[:-1]:
        node = ne.component(each, "L1N5")
        assert node.subject == str(tmp_path / "data")
        assert list(node.explanations) == ["of a folder"]
        assert ne.search(each, "folder", kind="explanation")["name"].tolist() == ["L1N5"]
    node.explanations.add("of a folder", 0.5)
    assert len(ne.own_explanations()) == 1
    assert ne.component("TINY", "L2N5").subject == "tiny"
    address = "http://user:secret@127.0.0.1:9/data/?key=1"
    assert ne.component(address, "L2N5").subject == "http://127.0.0.1:9/data"


def line(**changes):
    entry = {"subject": "tiny", "name": "L2N5", "dst": "mlp_post_act", "text": "places", "when": "2024-01-01T00:00:00Z"}
    return json.dumps(entry | changes)


def test_imports_keep_each_explanation_once(tmp_path):
    file = tmp_path / "some.jsonl"
    later = "2025-01-01T00:00:00+00:00"
    file.write_text("\n".join([line(), line(when=later), line(name="L2N6"), line(name="l02n05", dst="MLP_POST_ACT")]))
    assert ne.import_explanations(file) == 2
    assert ne.own_explanations()["when"].tolist()[0] == later
    explanations = ne.component("tiny", "L2N5").explanations
    explanations.add("places")
    assert ne.import_explanations(file) == 0
    assert explanations.own[0].when > later
    file.write_text(line(score=0.25))
    assert ne.import_explanations(file) == 0
    assert [(each.text, each.score) for each in explanations.own] == [("places", 0.25)]
    file.write_text(line())
    ne.import_explanations(file)
    assert [each.score for each in explanations.own] == [0.25]  # the one with a score stays


def test_adding_replaces_all_that_are_the_same(notes):
    notes.parent.mkdir()
    doubled = [json.loads(line(score=score)) for score in (0.1, 0.2)]
    notes.write_text(json.dumps({"version": 1, "explanations": [*doubled, json.loads(line(text="other"))]}))
    explanations = ne.component("tiny", "L2N5").explanations
    explanations.add("places", 0.3)
    assert [(each.text, each.score) for each in explanations.own] == [("places", 0.3), ("other", None)]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"text": "  "}, "text is empty"),
        ({"subject": ""}, "subject"),
        ({"subject": "tiny\x1b[31m"}, "control"),
        ({"subject": "tiny\u202e"}, "control"),
        ({"name": "L2N5\n"}, "control"),
        ({"name": "somewhere"}, "somewhere"),
        ({"name": "L2H1"}, "attention head"),
        ({"dst": "activation"}, "activation"),
        ({"when": "yesterday"}, "time"),
    ],
)
def test_what_an_imported_explanation_must_have(changes, problem, tmp_path):
    file = tmp_path / "some.jsonl"
    file.write_text(line() + "\n\n" + line(**changes))
    with pytest.raises(MalformedRecordError, match=problem) as caught:
        ne.import_explanations(file)
    assert "\x1b" not in str(caught.value)
    assert ne.own_explanations().empty


def test_a_byte_order_mark_and_lines_that_are_wrong(tmp_path):
    file = tmp_path / "some.jsonl"
    file.write_text(line(), encoding="utf-8-sig")
    assert ne.import_explanations(file) == 1
    file.write_text(f"{line()}\n{line()[:-4]}\n")
    with pytest.raises(MalformedRecordError, match="line 2"):
        ne.import_explanations(file)


def test_control_characters_stay_out_of_tables(notes, tmp_path):
    notes.parent.mkdir()
    entry = json.loads(line(subject="a\x1b[31m", name="L1\u202eN5", dst="x\x07", when="\x1b", text="=1+1\x1b"))
    notes.write_text(json.dumps({"version": 1, "explanations": [entry]}))
    text = ne.own_explanations().to_csv()
    ne.export_explanations(tmp_path / "mine.csv")
    for written in (text, (tmp_path / "mine.csv").read_text()):
        assert not set("\x1b\x07\u202e") & set(written)
    assert "'=1+1\\x1b" in (tmp_path / "mine.csv").read_text()
    ne.export_explanations(tmp_path / "mine.json")
    assert json.loads((tmp_path / "mine.json").read_text())["explanations"][0]["text"] == "=1+1\x1b"


@pytest.mark.parametrize("place", ["/dev/null/notes", "{}/file/notes"])
def test_notes_that_cannot_be_written(place, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", place.format(tmp_path))
    explanations = ne.component("tiny", "L2N5").explanations
    with pytest.raises(ne.errors.InvalidRequestError, match=r"own_explanations\.json.*NEURON_EXPLAINER_NOTES"):
        explanations.add("places")


def test_a_folder_in_the_place_of_the_notes(notes):
    notes.mkdir(parents=True)
    explanations = ne.component("tiny", "L2N5").explanations
    for ask in (lambda: explanations.own, lambda: explanations.add("places"), ne.own_explanations):
        with pytest.raises(MalformedRecordError, match="it is a folder"):
            ask()


def test_notes_that_are_too_large_say_what_helps(notes, monkeypatch):
    notes.parent.mkdir()
    notes.write_text(json.dumps({"version": 1, "explanations": [json.loads(line())] * 20}))
    monkeypatch.setattr("neuron_explainer.components.notes.kept_file.MOST_BYTES", 500)
    with pytest.raises(MalformedRecordError, match="Move it away"):
        ne.own_explanations()


def test_files_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    node = ne.component("tiny", "L2N5")
    comparison = ne.compare_components([node], "And the LORD")
    for write in (node.save_html, comparison.save_html):
        for target, kind in [("folder", IsADirectoryError), ("file/page.html", NotADirectoryError)]:
            with pytest.raises(kind) as caught:
                write(tmp_path / target)
            assert caught.value.filename == str(tmp_path / target)
            assert ".partial" not in str(caught.value)
    (tmp_path / "mine.json").mkdir()
    with pytest.raises(IsADirectoryError, match=r"mine\.json'$"):
        ne.export_explanations(tmp_path / "mine.json")
    assert not list(tmp_path.rglob("*.partial"))
