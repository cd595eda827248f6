"""An endpoint that answers: in order, at the same time, once, and in the form asked for."""

import asyncio
import json
import sys
from pathlib import Path

import msgspec
import pytest

from helpers.asking_clients import client_of, question, questions
from helpers.scripted_endpoint import Question, completion, refused, rubbish, said, scripted_endpoint
from neuron_explainer.errors import EndpointError, InvalidRequestError, MissingPackageError
from neuron_explainer.explanations import ChatClient, ChatRequest, OpenAICompatibleClient
from neuron_explainer.explanations.clients.structured import parsed, schema_of


class Grade(msgspec.Struct):
    grade: int


def shouted(asked: Question) -> str:
    return asked.last.upper()


def test_answers_come_in_the_order_of_the_questions_and_few_are_asked_at_once():
    with scripted_endpoint(shouted) as endpoint:
        endpoint.seconds = 0.02
        client = client_of(endpoint, max_concurrent=3)
        answers = client.ask(questions(12))
    assert isinstance(client, ChatClient)
    assert [answer.text for answer in answers] == [f"QUESTION {number}" for number in range(12)]
    assert endpoint.most_at_once == 3
    assert client.spent.n_requests == client.spent.n_answers == 12
    assert (client.spent.n_prompt_tokens, client.spent.n_answer_tokens) == (120, 60)


def test_equal_questions_are_asked_once_and_kept_ones_not_at_all(tmp_path: Path):
    with scripted_endpoint(shouted) as endpoint:
        asked = [question("a"), question("b"), question("a")]
        first = client_of(endpoint, tmp_path).ask(asked)
        assert sorted(endpoint.answered) == ["a", "b"]
        again = client_of(endpoint, tmp_path).ask([*asked, question("a", seed=1)])
        assert sorted(endpoint.answered) == ["a", "a", "b"]  # another seed is another question
    assert [answer.text for answer in again[:3]] == [answer.text for answer in first] == ["A", "B", "A"]
    assert [answer.is_from_cache for answer in again] == [True, True, True, False]
    assert not any(answer.is_from_cache for answer in first)


def test_what_is_sent_is_what_was_asked():
    with scripted_endpoint() as endpoint:
        request = ChatRequest((("system", "Be kind."), ("user", "Hello")), 7, 0.5, 3, {"type": "object"}, 2)
        client_of(endpoint).ask([request])
        sent = endpoint.questions[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.body == {
        "model": "a-model",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
        "logprobs": True,
        "top_logprobs": 2,
    }


def test_the_answer_says_all_that_the_endpoint_said():
    with scripted_endpoint() as endpoint:
        endpoint.script = [said("1", finish="length", tokens=(8, 2), logprobs=[{"1": -0.5, "2": -1.0}])]
        (answer,) = client_of(endpoint).ask([question("What is 2 - 1?", top_logprobs=2)])
    assert (answer.text, answer.is_whole, answer.n_prompt_tokens, answer.n_answer_tokens) == ("1", False, 8, 2)
    assert answer.logprobs == ({"1": -0.5, "2": -1.0},)


def test_of_tokens_with_the_same_text_the_likeliest_counts_and_tokens_beyond_the_answer_do_not():
    listed = [{"token": "1", "logprob": -0.5}, {"token": "\ufffd", "logprob": -1}, {"token": "\ufffd", "logprob": -3}]
    many = [{"token": "1", "logprob": -0.5, "top_logprobs": listed}] * 3
    with scripted_endpoint() as endpoint:
        for each, n, expected in ((many[:1], 1, ({"1": -0.5, "\ufffd": -1.0},)), (many, 2, None)):
            body = completion("1")
            body["choices"][0]["logprobs"] = {"content": each}
            endpoint.script = [rubbish(json.dumps(body).encode())]
            (answer,) = client_of(endpoint).ask([question("?", max_tokens=n, top_logprobs=2)])
            assert answer.logprobs == expected


def test_an_endpoint_that_takes_no_schema_is_asked_in_words_from_then_on():
    with scripted_endpoint(lambda asked: 'Of course: {"grade": 7}') as endpoint:
        endpoint.script = [refused(400, "Unsupported: response_format of type json_schema")]
        client = client_of(endpoint, max_concurrent=1)
        asked = [question(f"How good is {number}?", schema=schema_of(Grade)) for number in range(3)]
        answers = client.ask(asked)
        bodies = [each.body for each in endpoint.questions]
    assert [parsed(answer, Grade) for answer in answers] == [Grade(7)] * 3
    assert ["response_format" in body for body in bodies] == [True, False, False, False]
    assert '"grade":{"type":"integer"}' in endpoint.questions[-1].last
    assert endpoint.questions[-1].last.startswith("How good is 2?")


@pytest.mark.parametrize(
    ("part", "status", "message"),
    [
        ("logprobs", 403, "You are not allowed to request logprobs from this model"),
        ("seed", 400, "Unsupported parameter: 'seed'"),
        ("temperature", 400, "Unsupported value: 'temperature' does not support 0 with this model."),
        ("max_tokens", 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
    ],
)
def test_other_parts_that_an_endpoint_refuses_are_left_out(part: str, status: int, message: str):
    with scripted_endpoint() as endpoint:
        endpoint.script = [refused(status, message)]
        client = client_of(endpoint)
        for number in range(2):
            (answer,) = client.ask([question(f"{number}", seed=1, top_logprobs=2)])
            assert answer.logprobs is None
        bodies = [each.body for each in endpoint.questions]
    assert [part in body for body in bodies] == [True, False, False]
    assert bodies[-1].get("max_completion_tokens", 256) == 256


def test_a_part_is_left_out_once_only_if_the_endpoint_goes_on_refusing():
    with scripted_endpoint() as endpoint:
        endpoint.script = [refused(400, "no response_format")] * 5
        with pytest.raises(EndpointError, match="no response_format"):
            client_of(endpoint).ask([question("?", schema=schema_of(Grade))])
        assert len(endpoint.questions) == 2


def test_it_works_where_an_event_loop_runs_as_in_a_notebook():
    async def cell(client: ChatClient) -> str:
        return client.ask([question("hello")])[0].text

    with scripted_endpoint(shouted) as endpoint:
        assert asyncio.run(cell(client_of(endpoint))) == "HELLO"


def test_texts_that_are_no_text_are_asked_as_escapes():
    with scripted_endpoint(shouted) as endpoint:
        assert client_of(endpoint).ask([question("half \ud800 a pair")])[0].text == r"HALF \UD800 A PAIR"


@pytest.mark.parametrize("progress", [True, None])
def test_a_bar_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str], progress: bool | None):
    with scripted_endpoint() as endpoint:
        client_of(endpoint).ask(questions(3), progress=progress)
    assert ("asking" in capsys.readouterr().err) == (progress is True)


@pytest.mark.parametrize("package", ["openai", "tenacity"])
def test_a_missing_package_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"pip install {package}`, .* \[explain\]"):
        OpenAICompatibleClient("http://127.0.0.1:9/v1", "m")


@pytest.mark.parametrize(
    ("options", "said_of_it"),
    [
        ({"max_concurrent": 0}, "max_concurrent is 0"),
        ({"timeout": -1}, "timeout is -1"),
        ({"requests_per_minute": 0}, "requests_per_minute is 0"),
        ({"max_cost": 1.0}, "max_cost needs prices"),
        ({"max_cost": 0, "prices": (1, 2)}, "max_cost is 0"),
        ({"prices": 3}, "prices is 3. Give two numbers"),
        ({"prices": (1, -2)}, "Give two numbers"),
        ({"cache": 5}, "cache is 5"),
        ({"base_url": "localhost:8000"}, "localhost"),
        ({"base_url": "./here"}, "Give an http"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options: dict[str, object], said_of_it: str):
    address = str(options.pop("base_url", "http://127.0.0.1:9/v1"))
    with pytest.raises(InvalidRequestError, match=said_of_it):
        OpenAICompatibleClient(address, "m", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said_of_it"),
    [
        ({"messages": "hello"}, "messages is 'hello'"),
        ({"messages": ()}, "There are no messages"),
        ({"messages": (("robot", "hello"),)}, "Roles: system, user, assistant"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"top_logprobs": 21}, "top_logprobs is 21"),
        ({"schema": {"type": object()}}, "Give a JSON schema"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(wrong: dict[str, object], said_of_it: str):
    with pytest.raises(InvalidRequestError, match=said_of_it):
        ChatRequest(**{"messages": (("user", "hello"),), **wrong})  # type: ignore[arg-type]
