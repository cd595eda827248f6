"""A key goes to its endpoint, and nowhere else."""

import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from helpers.asking_clients import client_of, question, questions
from helpers.scripted_endpoint import redirected, refused, reset, rubbish, said, scripted_endpoint
from neuron_explainer.errors import EndpointError, InvalidRequestError, MisconfiguredError
from neuron_explainer.explanations import OpenAICompatibleClient

KEY = "sk-abcdefghijklmnop0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_TESTS", f" {KEY}\n")
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "another-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Own: another-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/another-secret")


def test_the_endpoint_gets_the_key_and_no_other_secret():
    with scripted_endpoint() as endpoint:
        client_of(endpoint, api_key_env="KEY_OF_TESTS").ask([question("?")])
        client_of(endpoint).ask([question("?")])
        with_key, without = (each.headers for each in endpoint.questions)
    assert with_key["Authorization"] == f"Bearer {KEY}"
    assert "Authorization" not in without
    assert "another-secret" not in str(with_key) + str(without)


def test_the_key_is_nowhere_else(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any):
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "asyncio", "neuron_explainer"):
        caplog.set_level(logging.DEBUG, logger=name)
    texts = []
    with scripted_endpoint() as endpoint:
        client = client_of(endpoint, tmp_path, api_key_env="KEY_OF_TESTS", max_attempts=1, max_tokens_total=10**6)
        endpoint.script = [said(f"Your key is {KEY}.", logprobs=[{KEY: -0.1}])]
        (answer,) = client.ask([question("?", top_logprobs=1)])
        assert answer.text == "Your key is [key]."
        assert answer.logprobs == ({"[key]": -0.1},)
        client.ask(questions(3))
        for play in (refused(401, f"wrong key: {KEY}"), refused(500, KEY), reset, refused(400, f"Bearer {KEY}")):
            endpoint.script = [play]
            with pytest.raises(EndpointError) as caught:
                client.ask([question("another")])
            error = caught.value
            texts += [str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))]
            assert error.__traceback__ is not None
            error.__traceback__ = error.__traceback__.tb_next  # this test itself knows the key
            whole = traceback.TracebackException.from_exception(error, capture_locals=True)
            texts += list(whole.format())
    texts += [repr(client), str(client), repr(vars(client)), repr(client.spent), caplog.text, *capfd.readouterr()]
    texts += [path.read_text() + str(path) for path in tmp_path.rglob("*") if path.is_file()]
    assert "HTTP Request" in caplog.text  # something was looked at
    assert [text for text in texts if KEY in text] == []
    assert sum("[key]" in text for text in texts) >= 3


@pytest.mark.parametrize(
    ("name", "error", "said_of_it"),
    [
        (KEY, InvalidRequestError, "not the name of an environment variable"),
        ("gsk_abcdefghijklmnop", MisconfiguredError, "The environment variable that api_key_env names is not set"),
        ("NOT_SET", MisconfiguredError, "The environment variable NOT_SET is not set"),
        ("BROKEN_KEY", MisconfiguredError, "characters that a key cannot have"),
    ],
)
def test_a_key_that_is_not_there_is_told_without_showing_what_may_be_one(
    monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception], said_of_it: str
):
    monkeypatch.setenv("BROKEN_KEY", f"{KEY}\r\nHost: elsewhere")
    with pytest.raises(error, match=said_of_it) as caught:
        OpenAICompatibleClient("http://127.0.0.1:9/v1", "m", api_key_env=name)
    assert KEY not in str(caught.value)
    assert "gsk_" not in str(caught.value)


@pytest.mark.parametrize("address", [f"http://user:{KEY}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={KEY}"])
def test_an_address_with_a_key_is_refused(address: str):
    with pytest.raises(InvalidRequestError, match=r"more than an address: http://127.0.0.1:9/v1\.") as caught:
        OpenAICompatibleClient(address, "m")
    assert KEY not in str(caught.value)


_SAYING_IT = [
    lambda key: rubbish(json.dumps({"error": {"message": f"wrong: {key}", "code": 400}}).encode()),
    lambda key: rubbish(f"no JSON: {key}".encode()),
    lambda key: rubbish(f"{'x' * 190}{key}".encode()),
    lambda key: refused(401, f"{'x' * 280}{key}"),  # a message is cut, and a key in it may be
    lambda key: rubbish(f"{' ' * 1190}{key}".encode(), 400),
    lambda key: rubbish(json.dumps({"message": key}).replace("/", "\\/").encode() + b",", 400),
    lambda key: redirected(f"http://127.0.0.1:9/{'x' * 260}{key}"),
    lambda key: redirected(f"http://127.0.0.1:9/{quote(key, safe='')}"),
]


@pytest.mark.parametrize("play", _SAYING_IT)
def test_no_piece_of_the_key_is_in_an_error_whatever_the_endpoint_says(monkeypatch: pytest.MonkeyPatch, play: Any):
    key = "sk-abcdefgh/ijklmnop0123456789"
    monkeypatch.setenv("KEY_OF_TESTS", key)
    with scripted_endpoint() as endpoint:
        endpoint.script = [play(key)]
        with pytest.raises(EndpointError) as caught:
            client_of(endpoint, api_key_env="KEY_OF_TESTS", max_attempts=1).ask([question("?")])
    assert "abcdefgh" not in str(caught.value)


@pytest.mark.parametrize("word", ["none", "1", "EMPTY", "anything"])
def test_a_word_that_stands_for_no_key_stays_in_answers(monkeypatch: pytest.MonkeyPatch, word: str):
    monkeypatch.setenv("KEY_OF_TESTS", word)
    with scripted_endpoint(lambda asked: f"1 of them, or none, or anything EMPTY: {word}") as endpoint:
        (answer,) = client_of(endpoint, api_key_env="KEY_OF_TESTS").ask([question("?")])
    assert answer.text == f"1 of them, or none, or anything EMPTY: {word}"
