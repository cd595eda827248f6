"""Texts from every source, and the sequences and batches made of them."""

import gzip
import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuron_explainer as ne
from helpers.property_tests import property_settings
from neuron_explainer.collation.corpus import text_files
from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.text_files import Text
from neuron_explainer.collation.corpus.texts import n_characters, read_texts
from neuron_explainer.collation.corpus.windows import CorpusChunk, CorpusPosition, corpus_chunks, windows_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.errors import (
    BadDocumentError,
    CorpusChangedError,
    InvalidRequestError,
    MissingFileError,
    UnreadableFileError,
)


def contents(texts: object, field: str = "text") -> list[str]:
    return [text.content for text in read_texts(texts, field)]


def test_strings_lists_and_iterators() -> None:
    assert contents("One text.\nTwo lines") == ["One text.\nTwo lines"]
    assert contents(["a", "", "b"]) == ["a", "b"]
    assert contents(word for word in ("x", "y")) == ["x", "y"]
    assert contents([{"text": "a", "id": 1}, {"text": "b"}]) == ["a", "b"]
    assert contents([{"body": "a"}], "body") == ["a"]


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first line\nsecond line\n", encoding="utf-8")
    lines = "".join(json.dumps(item) + "\n" for item in ({"text": "größer"}, "plain string", {"text": "c"}))
    (tmp_path / "b.jsonl").write_text(lines + "\n", encoding="utf-8")
    with gzip.open(tmp_path / "c.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines)
    pyarrow.parquet.write_table(pyarrow.table({"text": ["p", "q"], "n": [1, 2]}), tmp_path / "d.parquet")
    (tmp_path / "notes.md").write_text("not read")
    jsonl = ["größer", "plain string", "c"]
    assert contents(tmp_path / "a.txt") == ["first line\nsecond line\n"]
    assert contents(str(tmp_path / "b.jsonl")) == jsonl
    assert contents(tmp_path / "c.jsonl.gz") == jsonl
    assert contents(tmp_path) == ["first line\nsecond line\n", *jsonl, *jsonl, "p", "q"]
    assert contents([tmp_path / "d.parquet", "a string"]) == ["p", "q", "a string"]
    assert n_characters(tmp_path / "a.txt") == 23
    assert n_characters(["abc", tmp_path / "a.txt"]) == 26
    assert n_characters(tmp_path / "d.parquet") is None


def test_long_plain_files_are_cut_at_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_TEXT", 10)
    (tmp_path / "long.txt").write_text("12345\n67890\nab\ncdefghijklm\nz")
    pieces = list(read_texts(tmp_path / "long.txt"))
    assert [piece.content for piece in pieces] == ["12345\n67890\n", "ab\ncdefghijklm\n", "z"]
    assert pieces[1].where.endswith("long.txt, from line 3")


def test_hugging_face_dataset() -> None:
    import datasets

    dataset = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    assert contents(dataset) == ["a", "b"]
    assert contents(dataset.to_iterable_dataset()) == ["a", "b"]
    with pytest.raises(InvalidRequestError, match=r"'train'"):
        read_texts(datasets.DatasetDict({"train": dataset}))


def test_damaged_parquet_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", "two"] * 50}), path)
    whole = path.read_bytes()
    chance = random.Random(0)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            contents(path)
        except (BadDocumentError, InvalidRequestError):
            n_refused += 1
    assert n_refused > 50


def test_bad_documents_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": 3}\n')
    stream = read_texts(tmp_path / "a.jsonl")
    assert next(stream).content == "fine"
    with pytest.raises(BadDocumentError, match=r"a\.jsonl, line 2: it is of type int, not a string"):
        next(stream)
    (tmp_path / "b.jsonl").write_text('{"text": "cut o')
    with pytest.raises(BadDocumentError, match=r"b\.jsonl, line 1: it is not valid JSON"):
        contents(tmp_path / "b.jsonl")
    (tmp_path / "c.txt").write_bytes(b"good\nb\xffd\n")
    with pytest.raises(BadDocumentError, match=r"c\.txt, line 2: it is not UTF-8 at byte 1"):
        contents(tmp_path / "c.txt")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n' * 100)[:30])
    with pytest.raises(BadDocumentError, match=r"d\.jsonl\.gz"):
        contents(tmp_path / "d.jsonl.gz")
    (tmp_path / "e.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(BadDocumentError, match=r"e\.parquet"):
        contents(tmp_path / "e.parquet")
    (tmp_path / "f.jsonl").write_text('{"text": "x", "id": ' + "9" * 5000 + "}")
    with pytest.raises(BadDocumentError, match=r"f\.jsonl, line 1: it is not valid JSON"):
        contents(tmp_path / "f.jsonl")
    for bad, what in ((None, "NoneType"), (b"bytes", "bytes"), ("half \ud800", "surrogate"), ({"body": "x"}, "'body'")):
        with pytest.raises(BadDocumentError, match=what):
            contents(["fine", bad])


def test_what_is_no_text_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"missing\.txt"):
        contents("missing.txt")
    with pytest.raises(MissingFileError, match="has no file"):
        contents(tmp_path)
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(InvalidRequestError, match="name ends in"):
        contents(tmp_path / "a.pdf")
    for wrong in (3, b"bytes", None):
        with pytest.raises(InvalidRequestError, match="Give a text"):
            read_texts(wrong)
    pyarrow.parquet.write_table(pyarrow.table({"body": ["p"]}), tmp_path / "d.parquet")
    with pytest.raises(InvalidRequestError, match=r"no column 'text'.*'body'"):
        contents(tmp_path / "d.parquet")


def test_a_mistyped_path_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("corpus.txt", "other.jsonl", "notes.pdf", "data/a.TXT"):
        (tmp_path / name).write_text('"x"')
    nearest = "Choose one of: corpus.txt, other.jsonl."
    for mistyped, said in {
        "corpsu.txt": f"corpsu.txt: the file does not exist. {nearest} A text that looks like a path is given as",
        "./corpsu": f"corpsu: the file does not exist. {nearest}",
        f"{tmp_path}/corpus": nearest,
        "corpus.csv": nearest,
        "other.jsonl.gzz": "Choose one of: other.jsonl, corpus.txt.",
        "dta/a.txt": "there is no folder dta. Choose one of: data.",
        "./data/b.jsonl.gz": "data/b.jsonl.gz: the file does not exist. Choose one of: a.TXT.",
        "~/no such file.txt": "no such file.txt: the file does not exist",
    }.items():
        for read in (contents, n_characters):
            with pytest.raises(MissingFileError) as caught:
                read(mistyped)
            assert said in str(caught.value)
    with pytest.raises(InvalidRequestError, match=r"'https://host/a\.txt' is an address\. Download"):
        contents("https://host/a.txt")
    assert contents("./data") == contents(tmp_path / "data") == contents("data/a.TXT") == ['"x"']
    for text in ("data", "See /etc", "/r/python", "hello.world", "A dot.txt\nin a line", "https://host/x", "and/or"):
        assert contents(text) == [text]
        assert n_characters(text) == len(text)
    assert contents([{"text": "nope.txt"}, "./no path in a list"]) == ["nope.txt", "./no path in a list"]


@pytest.mark.parametrize("kind", ["pipe", "loop", "link", "device", "folder", "long", "NUL", "surrogate"])
def test_paths_that_are_no_files(kind: str, tmp_path: Path) -> None:
    for suffix in (".txt", ".jsonl.gz", ".parquet"):
        path = tmp_path / f"x{suffix}"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind in ("loop", "link", "device"):
            path.symlink_to({"loop": path, "link": tmp_path / "nothing", "device": Path("/dev/zero")}[kind])
        else:
            path = tmp_path / ({"long": "x" * 300, "NUL": "\0", "surrogate": "\ud800"}[kind] + suffix)
        expected = UnreadableFileError if kind in ("pipe", "loop", "device") else MissingFileError
        for read, path_given in itertools.product((contents, n_characters), (path, str(path), [path])):
            with pytest.raises(expected) as caught:
                read(path_given)
            assert len(str(caught.value)) < 1000
    if kind == "pipe":
        with pytest.raises(UnreadableFileError, match=r"it is a pipe"):  # among the files of a folder
            n_characters(tmp_path)


@given(n_tokens=st.integers(0, 50), size=st.integers(1, 12), stride=st.integers(1, 12), prepend_bos=st.booleans())
def test_windows_cover_a_text(n_tokens: int, size: int, stride: int, prepend_bos: bool) -> None:
    settings = CollateSettings(context_length=size + prepend_bos, stride=min(stride, size), prepend_bos=prepend_bos)
    windows = list(windows_of(range(n_tokens), settings))
    assert {token for window in windows for token in window} == set(range(n_tokens))
    for number, window in enumerate(windows):
        start = number * settings.stride  # type: ignore[operator]
        assert window == list(range(start, min(start + size, n_tokens)))


def numbers(text: str) -> list[int]:
    """A tokenizer for tests: a text is its numbers."""
    return [int(word) for word in text.split()]


def stream(corpus: list[list[int]]) -> CorpusReader:
    spelled = [" ".join(map(str, tokens)) for tokens in corpus]
    return CorpusReader(Text(text, f"text {number}") for number, text in enumerate(spelled))


corpora = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), min_size=1, max_size=20)


@property_settings(60)
@given(corpus=corpora, size=st.integers(1, 8), budget=st.integers(1, 30), limit=st.none() | st.integers(1, 200))
def test_batches_hold_every_sequence_once_and_resume_anywhere(
    corpus: list[list[int]], size: int, budget: int, limit: int | None
) -> None:
    asked = CollateSettings(context_length=size, batch_tokens=budget, max_tokens=limit)
    whole = list(corpus_chunks(stream(corpus), numbers, asked, bos_token=None))
    expected, left = [], limit if limit is not None else 10**9
    for tokens in corpus:
        for window in windows_of(tokens, asked):
            if left > 0:
                expected.append(window[:left])
                left -= len(window[:left])
    seen: dict[int, list[int]] = {}
    for chunk in whole:
        for batch in chunk.batches(budget):
            assert batch.tokens.numel() <= max(budget, batch.tokens.shape[1])
            for row, length, index in zip(batch.tokens, batch.lengths, batch.sequence_index, strict=True):
                assert int(index) not in seen
                seen[int(index)] = row[: int(length)].tolist()
    assert [seen[index] for index in range(len(seen))] == expected
    for chunk in whole:
        again = next(corpus_chunks(stream(corpus), numbers, asked, start=chunk.start))
        assert (again.start, again.end, again.sequences) == (chunk.start, chunk.end, chunk.sequences)
    assert whole[-1].end.tokens == sum(map(len, expected))
    assert all(before.end == after.start for before, after in itertools.pairwise(whole))


def test_beginning_token_is_put_before_every_sequence() -> None:
    asked = CollateSettings(context_length=3, prepend_bos=True)
    (chunk,) = corpus_chunks(stream([[1, 2, 3], [4]]), numbers, asked, bos_token=77)
    assert chunk.sequences == [[77, 1, 2], [77, 3], [77, 4]]
    assert chunk.end.tokens == 4


def test_batches_pad_little() -> None:
    chunk = CorpusChunk(CorpusPosition(), CorpusPosition(), [[1] * 10, [2], [3] * 10, [4] * 2])
    shapes = [tuple(batch.tokens.shape) for batch in chunk.batches(20)]
    assert shapes == [(2, 10), (2, 2)]
    assert chunk.batches(20)[1].sequence_index.tolist() == [1, 3]


def test_texts_that_have_changed_are_noticed() -> None:
    before = stream([[1], [2, 3], [4]])
    list(corpus_chunks(before, numbers, CollateSettings()))
    expected = before.n_texts, before.digest
    for changed in ([[1]], [[1], [2, 3]], [[1], [2, 9], [4]], [[2, 3], [1], [4]], [[1], [2], [3, 4]]):
        spelled = (Text(" ".join(map(str, tokens)), "") for tokens in changed)
        with pytest.raises(CorpusChangedError, match="first 3 texts"):
            list(
                corpus_chunks(
                    CorpusReader(spelled, expected), numbers, CollateSettings(), start=CorpusPosition(texts=1)
                )
            )
    longer = (Text(text, "") for text in ("1", "2 3", "4", "5"))
    (chunk,) = corpus_chunks(
        CorpusReader(longer, expected), numbers, CollateSettings(), start=CorpusPosition(texts=1, sequences=1)
    )
    assert chunk.sequences == [[2, 3], [4], [5]]


@pytest.mark.parametrize("letter", ["x", "ß", "語", "😀"])
@pytest.mark.parametrize("start", range(4))
def test_a_giant_line_is_read_in_pieces(
    letter: str, start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "LONGEST_TEXT", 64)
    monkeypatch.setattr(text_files, "_LONGEST_LINE", 64)
    content = "a" * start + letter * 500
    with gzip.open(tmp_path / "giant.txt.gz", "wt", encoding="utf-8") as file:
        file.write(content)
    (tmp_path / "giant.jsonl").write_text(json.dumps({"text": content}), encoding="utf-8")
    for source in (tmp_path / "giant.txt.gz", tmp_path / "giant.jsonl", [content]):
        pieces = contents(source)
        assert "".join(pieces) == content
        assert max(map(len, pieces)) <= 2 * 64


def test_pieces_end_at_lines_or_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_TEXT", 10)
    assert contents("12345\n67890 abc defghijklmnop") == ["12345\n", "67890 abc", " defghijklmnop"]


def test_a_json_line_has_a_longest_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "_LONGEST_RECORD", 100)
    (tmp_path / "a.jsonl").write_text('{"text": "' + "x" * 200 + '"}')
    with pytest.raises(BadDocumentError, match="line 1: it is longer than 100 bytes"):
        contents(tmp_path / "a.jsonl")


def test_a_mark_of_the_encoding_is_no_text(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    for name, content in (("a.txt", b"one"), ("b.jsonl", b'{"text": "one"}\n')):
        (tmp_path / name).write_bytes(mark + content)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(mark + content))
    assert [text.content for text in read_texts(tmp_path)] == ["one"] * 4
    (tmp_path / "a.txt").write_bytes(mark)
    assert list(read_texts(tmp_path / "a.txt")) == []


@pytest.mark.parametrize("line", ["9" * 5000, '{"text": "a", "n": ' + "9" * 5000 + "}"])
def test_a_number_of_thousands_of_digits(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(BadDocumentError, match="line 1: it is not valid JSON"):
        list(read_texts(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("texts", [[{"text": 3}], [{"text": ["a"]}]])
def test_what_holds_no_text_is_refused_before_the_work(texts: Any, tmp_path: Path) -> None:
    with pytest.raises((BadDocumentError, InvalidRequestError), match=r"of type (int|list)"):
        ne.collate("tiny", texts, tmp_path / "made", device="cpu", progress=False)
