"""A key goes to its endpoint, and nowhere else."""

import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from explanations.asking import client_of, question, questions
from helpers.scripted_endpoint import refused, reset, said, scripted_endpoint
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
            whole = traceback.TracebackException.from_exception(error, capture_locals=True)
            texts += list(whole.format())
    texts += [repr(client), str(client), repr(vars(client)), repr(client.spent), caplog.text, *capfd.readouterr()]
    texts += [path.read_text() + str(path) for path in tmp_path.rglob("*") if path.is_file()]
    assert "question 1" in "".join(texts)  # something was looked at
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
    with pytest.raises(InvalidRequestError, match=r"base_url has more than an address: http://127.0.0.1:9/v1\.") as caught:
        OpenAICompatibleClient(address, "m")
    assert KEY not in str(caught.value)
