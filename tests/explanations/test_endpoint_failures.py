"""An endpoint that fails: what may pass is tried again, what was refused is not, and nothing goes on without end."""

import time
from collections import Counter
from typing import Any

import pytest

from explanations.asking import client_of, question, questions
from helpers.loopback_server import loopback_server
from helpers.scripted_endpoint import (
    Play,
    dripped,
    endless,
    redirected,
    refused,
    reset,
    rubbish,
    said,
    scripted_endpoint,
    stalled,
    truncated,
)
from neuron_explainer.errors import EndpointError

PASSING = [
    refused(500),
    refused(503, "loading the model"),
    refused(429, "slow down"),
    refused(429, Retry_After="0.002"),
    truncated,
    reset,
    rubbish(b"<html>Bad gateway</html>"),
    rubbish(b'{"choices": [{"message"'),
    rubbish(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    rubbish(b'{"error": {"message": "upstream", "code": 502}}'),
]


@pytest.mark.parametrize("play", PASSING)
def test_what_may_pass_is_tried_again(play: Play):
    with scripted_endpoint() as endpoint:
        endpoint.script = [play, play, said("At last.")]
        assert client_of(endpoint).ask([question("?")])[0].text == "At last."
        assert len(endpoint.questions) == 3


def test_nothing_answered_is_lost_or_asked_twice_whatever_fails():
    with scripted_endpoint(lambda asked: asked.last.upper()) as endpoint:
        endpoint.script = PASSING * 2
        client = client_of(endpoint, max_attempts=21)
        answers = client.ask(questions(30))
    assert [answer.text for answer in answers] == [f"QUESTION {number}" for number in range(30)]
    assert set(Counter(endpoint.answered).values()) == {1}
    assert len(endpoint.questions) == 30 + 2 * len(PASSING) == client.spent.n_requests


@pytest.mark.parametrize("play", [stalled, dripped(0.005)])
def test_an_answer_has_only_so_much_time(play: Play):
    with scripted_endpoint() as endpoint:
        endpoint.script = [play] * 2
        began = time.monotonic()
        with pytest.raises(EndpointError, match=r"took longer than 0.1 s \(attempts: 2\)"):
            client_of(endpoint, timeout=0.1, max_attempts=2).ask([question("?")])
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
def test_a_refusal_is_told_at_once_with_the_endpoints_words(status: int):
    with scripted_endpoint() as endpoint:
        endpoint.script = [refused(status, "the model\n is \x1b[31mgone " + "x" * 10_000)]
        with pytest.raises(EndpointError) as caught:
            client_of(endpoint).ask([question("?")])
        assert len(endpoint.questions) == 1
    error = caught.value
    assert error.status_code == status
    assert "the model is \\x1b[31mgone xxx" in str(error)
    assert len(str(error)) < 800
    assert error.location == endpoint.base_url
    assert error.__cause__ is None
    assert error.__context__ is None


def test_the_last_failure_is_told_with_the_number_of_attempts():
    with scripted_endpoint() as endpoint:
        endpoint.script = [refused(500), refused(503, "out of memory")]
        with pytest.raises(EndpointError, match=r"503. It says: out of memory \(attempts: 2\)") as caught:
            client_of(endpoint, max_attempts=2).ask([question("?")])
    assert caught.value.status_code == 503


@pytest.mark.parametrize(
    ("play", "said_of_it"),
    [
        (endless, "more than 16,777,216 bytes"),
        (rubbish(b"x", Content_Encoding="gzip"), "compressed form"),
        (rubbish(b"[1, 2]"), "not a chat completion: Expected `object`"),
        (rubbish(b'{"choices": []}'), "without any choice"),
        (rubbish(b'{"choices": [{"message": {"content": 5}}]}'), "Expected `str | null`, got `int`"),
        (rubbish(b'{"error": "model not found"}'), "an error: model not found"),
        (said("x" * 60_000), "60,000 characters, where 256 tokens"),
    ],
)
def test_what_is_no_answer_is_not_asked_for_again(play: Play, said_of_it: str):
    with scripted_endpoint() as endpoint:
        endpoint.script = [play]
        with pytest.raises(EndpointError) as caught:
            client_of(endpoint).ask([question("?")])
        assert len(endpoint.questions) == 1
    assert said_of_it in str(caught.value)


@pytest.mark.parametrize("body", [b"[" * 10**6, b'{"usage":' + b"[" * 10**6, b'{"a":' * 10**5], ids=["[", "usage", "{"])
def test_a_deeply_nested_answer_is_none(body: bytes):
    with scripted_endpoint() as endpoint:
        endpoint.script = [rubbish(body)] * 2
        with pytest.raises(EndpointError, match=r"answered something that is not"):
            client_of(endpoint, max_attempts=2).ask([question("?")])


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": {"prompt_tokens": -5, "completion_tokens": 10**30}},
        {"usage": "none"},
        {"choices": [{"message": {"content": "Yes."}, "logprobs": {"content": [{"token": 5}]}}]},
        {"choices": [{"message": {"content": "Yes."}, "logprobs": {"content": [{"token": "a", "logprob": None}]}}]},
    ],
)
def test_what_an_endpoint_says_oddly_beside_the_answer_is_unknown(odd: dict[str, Any]):
    import json

    body = {"choices": [{"message": {"content": "Yes."}}]} | odd
    with scripted_endpoint() as endpoint:
        endpoint.script = [rubbish(json.dumps(body).encode())]
        client = client_of(endpoint)
        (answer,) = client.ask([question("?", top_logprobs=1)])
    assert (answer.text, answer.n_prompt_tokens, answer.n_answer_tokens) == ("Yes.", None, None)
    assert answer.logprobs in (None, ({},))
    assert client.spent.n_prompt_tokens == 1  # by the bytes of the texts
    assert client.spent.n_answer_tokens == 2


def test_a_redirect_elsewhere_is_not_followed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEY_OF_TESTS", "sk-not-for-others")
    with scripted_endpoint() as endpoint, loopback_server() as elsewhere:
        endpoint.script = [redirected(f"{elsewhere.address}/v1/chat/completions?key=1")]
        with pytest.raises(EndpointError, match=f"a redirect to {elsewhere.address}/v1/chat/completions, which"):
            client_of(endpoint, api_key_env="KEY_OF_TESTS").ask([question("?")])
        assert not elsewhere.connections


def test_nobody_there_is_told():
    with scripted_endpoint() as endpoint:
        client = client_of(endpoint, max_attempts=2)
    with pytest.raises(EndpointError, match=r"could not be reached: .* \(attempts: 2\)"):
        client.ask([question("?")])


def test_a_retry_after_is_waited_for_within_bounds():
    with scripted_endpoint() as endpoint:
        endpoint.script = [refused(429, Retry_After="0.2"), said("Yes.")]
        began = time.monotonic()
        client_of(endpoint, longest_pause=10).ask([question("?")])
        assert 0.2 <= time.monotonic() - began < 3
        endpoint.script = [refused(429, Retry_After="100000"), said("Yes.")]
        began = time.monotonic()
        client_of(endpoint, longest_pause=0.01).ask([question("?")])
        assert time.monotonic() - began < 3


def test_after_a_refusal_nothing_new_is_asked_but_what_is_under_way_is_waited_for():
    with scripted_endpoint(lambda asked: asked.last.upper()) as endpoint:
        endpoint.seconds = 0.1
        endpoint.script = [refused(401)]
        with pytest.raises(EndpointError, match="401") as caught:
            client_of(endpoint, max_concurrent=3).ask(questions(9))
        assert len(endpoint.questions) == 3
    came = [answer.text for answer in caught.value.answers if answer is not None]
    assert len(caught.value.answers) == 9
    assert sorted(came) == sorted(text.upper() for text in endpoint.answered)
    assert len(came) == 2
