"""`ne.search` by the words of explanations: one's own, and those of a folder."""

import json
import os

import pytest

import neuron_explainer as ne
from helpers.explanations import PRESENT
from neuron_explainer.components.search import explanation_index
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.notices import UnexpectedContentWarning
from neuron_explainer.storage.local import read_local_bytes


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))


def write(folder, layer, index, text, score=0.5):
    fields = json.loads(json.dumps(PRESENT).replace("NaN", "null"))
    fields["neuron_id"] |= {"layer_index": layer, "neuron_index": index}
    fields["scored_explanations"][0]["explanation"] = text
    fields["scored_explanations"][0]["scored_simulation"]["ev_correlation_score"] = score
    (folder / str(layer)).mkdir(parents=True, exist_ok=True)
    (folder / str(layer) / f"{index}.jsonl").write_text(json.dumps(fields))


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    write(folder, 0, 3, "words about the Law of the sea", 0.25)
    write(folder, 2, 7, "legal terms, LAW above all", 0.75)
    write(folder, 2, 11, "names of animals", 0.9)
    write(folder, 3, 1, "law without a score", None)
    return folder


def search(words, folder, **options):
    return ne.search("tiny", words, kind="explanation", explanations=folder, progress=False, **options)


def test_all_words_must_occur_in_any_case(published):
    assert search("law", published)["name"].tolist() == ["L2N7", "L0N3", "L3N1"]
    assert search("SEA law", published)["name"].tolist() == ["L0N3"]
    assert search("law fish", published).empty
    assert search("law", published, n=1)["name"].tolist() == ["L2N7"]
    assert search("law", published, layers=[0, 3])["name"].tolist() == ["L0N3", "L3N1"]
    row = search("animals", published).iloc[0]
    assert row.tolist() == ["L2N11", 2, 11, "names of animals", 0.9, "published"]


def test_one_s_own_are_searched_too(published):
    ne.component("tiny", "L1N5").explanations.add("the law, I think", 0.8)
    ne.component("tiny", "L0H1").explanations.add("law of heads")
    found = search("law", published)
    assert found["name"].tolist() == ["L1N5", "L2N7", "L0N3", "L3N1"]
    assert found["source"].iloc[0] == "own"
    assert ne.search("tiny", "law", kind="explanation")["name"].tolist() == ["L1N5"]
    heads = ne.search("tiny", "law", kind="explanation", dst="attn_write_norm")
    assert heads["name"].tolist() == ["L0H1"]


def test_files_are_read_once_and_again_when_they_change(published, monkeypatch):
    read = []
    plain = read_local_bytes

    def noting(path, most):
        read.append(os.path.basename(path))
        return plain(path, most)

    monkeypatch.setattr(explanation_index, "read_local_bytes", noting)
    search("law", published)
    assert sum(name.endswith(".jsonl") for name in read) == 4
    read.clear()
    search("law", published)
    assert not [name for name in read if name.endswith(".jsonl")]
    write(published, 2, 11, "now about the law of the jungle")
    (published / "0" / "3.jsonl").unlink()
    read.clear()
    assert search("law", published)["name"].tolist() == ["L2N7", "L2N11", "L3N1"]
    assert [name for name in read if name.endswith(".jsonl")] == ["11.jsonl"]


@pytest.mark.parametrize("content", [b"", b"[[1]]", b"[" * 100_000, b"\xff", b'[[0, 3, 1, 1, [["law", "x"]]]]'])
def test_a_damaged_index_is_made_again(published, tmp_path, content):
    search("law", published)
    (kept,) = (tmp_path / "cache" / "explanation_indices").iterdir()
    kept.write_bytes(content)
    assert len(search("law", published)) == 3
    assert kept.read_bytes() != content


def test_a_damaged_file_is_said_and_the_others_are_searched(published):
    (published / "2" / "9.jsonl").write_text("{}")
    with pytest.warns(UnexpectedContentWarning, match=r"1 files of explanations .*9\.jsonl"):
        assert len(search("law", published)) == 3


def test_without_a_cache_the_folder_is_read_each_time(published, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off")
    assert len(search("law", published)) == 3


def test_what_cannot_be_searched_says_why(published):
    with pytest.raises(InvalidRequestError, match="No explanations of tiny"):
        ne.search("tiny", "law", kind="explanation")
    with pytest.raises(InvalidRequestError, match="an address cannot be listed"):
        ne.search("gpt2-xl", "law", kind="explanation")
    with pytest.raises(InvalidRequestError, match="Leave it out"):
        search("law", published, token=1)
    with pytest.raises(InvalidRequestError, match="Give that kind, or leave them out"):
        ne.search("tiny", "law", explanations=published)
