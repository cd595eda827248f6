"""Answers on the disk: found by all that matters, damaged ones not used, bounded, for several processes."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import neuron_explainer as ne
from explanations.asking import client_of, question
from helpers.scripted_endpoint import scripted_endpoint
from neuron_explainer.explanations import ChatAnswer, ChatRequest
from neuron_explainer.explanations.clients import answer_cache
from neuron_explainer.explanations.clients.answer_cache import AnswerCache, key_of_request

REQUEST = ChatRequest((("system", "Be kind."), ("user", "Hello")), schema={"a": {"x": 1}, "b": 2})
WHO = ("chat completions", "http://127.0.0.1/v1", "a-model")
KEY = key_of_request(WHO, REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, messages=(("user", "Be kind."), ("user", "Hello"))),
        replace(REQUEST, messages=(("system", "Be kind."), ("user", "Hello "))),
        replace(REQUEST, max_tokens=255),
        replace(REQUEST, temperature=0.1),
        replace(REQUEST, seed=0),
        replace(REQUEST, schema=None),
        replace(REQUEST, schema={"b": 2, "a": {"x": 1}}),  # models write in the order of a schema
        replace(REQUEST, top_logprobs=1),
    ],
)
def test_the_key_is_of_everything_that_matters(other: ChatRequest):
    assert key_of_request(WHO, other) != KEY
    assert key_of_request(WHO, replace(REQUEST)) == KEY
    assert len({KEY, *(key_of_request((*WHO[:n], "x", *WHO[n + 1 :]), REQUEST) for n in range(3))}) == 4


def test_an_answer_comes_back_as_it_was(tmp_path: Path):
    cache = AnswerCache(tmp_path / "new")
    assert cache.find(KEY) is None
    assert cache.n_bytes() == 0
    answer = ChatAnswer("Yés\n\x00", False, 3, None, ({"Y": -0.1, "é": -1 / 3},))
    cache.keep(KEY, answer)
    assert cache.find(KEY) == replace(answer, is_from_cache=True)
    (path,) = (tmp_path / "new").rglob("*.json")
    assert path.parent.name == KEY[:2]
    assert path.stat().st_mode & 0o077 == 0
    assert cache.clear() == path.stat().st_size if path.exists() else True
    assert cache.find(KEY) is None


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "of another", "folder", "large", "nested"])
def test_a_damaged_answer_is_asked_for_again(tmp_path: Path, damage: str):
    with scripted_endpoint() as endpoint:
        client_of(endpoint, tmp_path).ask([question("?")])
        (path,) = tmp_path.rglob("*.json")
        whole = path.read_bytes()
        damaged = {
            "empty": b"",
            "cut": whole[:-3],
            "flipped": whole.replace(b"Yes.", b"No!!"),
            "of another": whole.replace(path.stem.encode(), b"0" * 64),
            "nested": b"[" * 10**6,
        }
        if damage == "folder":
            path.unlink()
            path.mkdir()
        elif damage == "large":
            with path.open("r+b") as file:
                file.truncate(10**9)
        else:
            path.write_bytes(damaged[damage])
        (answer,) = client_of(endpoint, tmp_path).ask([question("?")])
        assert (answer.text, answer.is_from_cache) == ("Yes.", False)
        (again,) = client_of(endpoint, tmp_path).ask([question("?")])
        assert again.is_from_cache or damage == "folder"


def test_where_nothing_can_be_written_answers_come_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("")
    with scripted_endpoint() as endpoint:
        (answer,) = client_of(endpoint, tmp_path / "file" / "answers").ask([question("?")])
    assert answer.text == "Yes."
    assert "An answer could not be kept" in caplog.text


def test_many_write_at_the_same_time_and_readers_see_whole_answers(tmp_path: Path):
    cache, seen = AnswerCache(tmp_path), set()
    cache.keep(KEY, ChatAnswer("0"))

    def write(number: int) -> None:
        for _ in range(20):
            AnswerCache(tmp_path).keep(KEY, ChatAnswer(f"{number}" * 1000))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = cache.find(KEY)
        assert found is not None
        seen.add(found.text)
    assert seen <= {"0"} | {f"{number}" * 1000 for number in range(4)}
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


def test_a_folder_keeps_the_newest_answers_within_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answer_cache, "_MOST_SHARD_BYTES", 2500)
    cache = AnswerCache(tmp_path)
    keys = [f"ab{number:02x}".ljust(64, "0") for number in (5, 4, 3, 2, 1)]
    for number, key in enumerate(keys):
        cache.keep(key, ChatAnswer("x" * 500))
        os.utime(tmp_path / "ab" / f"{key}.json", (1000 + number,) * 2)
    left = tmp_path / "ab" / ".ab.1-2.partial"
    left.write_text("left by a killed process")
    os.utime(left, (1000, 1000))
    assert cache.n_bytes() > 2500
    cache.keep("ab00".ljust(64, "0"), ChatAnswer("x" * 500))  # one answer in 256 makes room
    assert cache.n_bytes() <= 2500
    assert [cache.find(key) is not None for key in keys] == [False, False, False, True, True]
    assert cache.find("ab00".ljust(64, "0")) is not None
    assert not left.exists()


def test_the_librarys_own_cache_is_used_and_clear_cache_leaves_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path))
    with scripted_endpoint() as endpoint:
        client_of(endpoint, cache=True).ask([question("?")])
        assert len(list((tmp_path / "answers").rglob("*.json"))) == 1
        ne.clear_cache()
        assert client_of(endpoint, cache=True).ask([question("?")])[0].is_from_cache
        monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off")
        assert not client_of(endpoint, cache=True).ask([question("?")])[0].is_from_cache


def test_answers_kept_are_found_quickly(tmp_path: Path):
    with scripted_endpoint() as endpoint:
        asked = [question(f"{number}") for number in range(200)]
        client_of(endpoint, tmp_path).ask(asked)
        began = time.monotonic()
        assert all(answer.is_from_cache for answer in client_of(endpoint, tmp_path).ask(asked))
        assert time.monotonic() - began < 2
