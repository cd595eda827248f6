"""Chat completions as they travel: questions to bodies, bodies to answers, and what endpoints refuse.

The form is that of OpenAI's interface, which vLLM, llama.cpp, Ollama, LM Studio and hosted endpoints speak, too. Not
all of them take all of it: what one refuses is left out, or said in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from neuron_explainer.explanations.clients.client import ChatAnswer, ChatRequest
from neuron_explainer.wording import in_a_sentence

_CHARACTERS_PER_TOKEN, _MORE_CHARACTERS = 200, 2000
_MOST_COUNTED = 10**9
_MOST_SAID = 300
_MOST_LISTED = 20
_OK = 200
_REFUSING = (400, 403, 422, 501)
"""The statuses with which endpoints refuse a part of a body."""

SCHEMA, LOGPROBS, MAX_TOKENS, TEMPERATURE, SEED = "response_format", "logprobs", "max_tokens", "temperature", "seed"
_TOLD_BY = {
    SCHEMA: ("response_format", "json_schema"),
    LOGPROBS: ("logprobs",),
    MAX_TOKENS: ("max_completion_tokens",),  # what newer models want instead
    TEMPERATURE: ("'temperature'", '"temperature"', "`temperature`"),
    SEED: ("'seed'", '"seed"', "`seed`"),
}


class NoAnswer(Exception):
    """A body holds no answer. The message says why; `may_pass` whether it may be another time."""

    def __init__(self, problem: str, *, may_pass: bool = False, status_code: int | None = None) -> None:
        self.problem = problem
        self.may_pass = may_pass
        self.status_code = status_code
        super().__init__(problem)


def body_of(request: ChatRequest, model: str, refused: frozenset[str]) -> dict[str, Any]:
    """What is sent.

    Args:
        request: the question.
        model: the model's name.
        refused: the parts that the endpoint refuses.
    """
    in_words = request.schema is not None and SCHEMA in refused
    messages = _messages_with_schema(request) if in_words else request.messages
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": role, "content": text} for role, text in messages],
        "max_completion_tokens" if MAX_TOKENS in refused else "max_tokens": request.max_tokens,
    }
    if TEMPERATURE not in refused:
        body["temperature"] = request.temperature
    if request.seed is not None and SEED not in refused:
        body["seed"] = request.seed
    if request.schema is not None and not in_words:
        form = {"name": "answer", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.top_logprobs and LOGPROBS not in refused:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return body


def _messages_with_schema(request: ChatRequest) -> tuple[tuple[str, str], ...]:
    """The messages, with the schema in words at the end of the last one."""
    schema = msgspec.json.encode(request.schema).decode()
    words = f"Answer with JSON alone, without any other text. It must follow this JSON schema: {schema}"
    *before, (role, text) = request.messages
    if role != "user":
        return (*request.messages, ("user", words))
    return (*before, (role, f"{text}\n\n{words}"))


def refused_part(status: int, said: str, body: Mapping[str, Any]) -> str | None:
    """The part of a body that an endpoint refuses by its answer; None if it refuses the whole.

    Args:
        status: the HTTP status.
        said: the answer.
        body: what was sent.
    """
    if status not in _REFUSING:
        return None
    told = (part for part, names in _TOLD_BY.items() if any(name in said for name in names))
    return next((part for part in told if part in body), None)


def said_by_server(content: bytes, clean: Callable[[str], str] = str) -> str:
    """What an endpoint says of an error, on one line and cut.

    Args:
        content: its answer.
        clean: takes secrets out of a whole text.
    """
    try:
        whole = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        for name in ("error", "detail", "message"):
            if name in whole:
                said = msgspec.json.decode(whole[name])
                whole_text = str(said.get("message", said) if isinstance(said, dict) else said)
                return in_a_sentence(clean(whole_text), _MOST_SAID)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return in_a_sentence(clean(content.decode(errors="replace"))[: 4 * _MOST_SAID], _MOST_SAID)


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Completion(msgspec.Struct):
    choices: list[_Choice] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    code: int | str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Token(msgspec.Struct):
    token: str
    logprob: float | None = None


class _TokenAnswered(_Token):
    top_logprobs: list[_Token] = []


class _Logprobs(msgspec.Struct):
    content: list[_TokenAnswered]


def answer_in(content: bytes, request: ChatRequest, clean: Callable[[str], str] = str) -> ChatAnswer:
    """The answer in a body.

    Args:
        content: the body, of a limited size.
        request: what was asked.
        clean: takes secrets out of what errors say.

    Raises:
        NoAnswer: it holds none: it is cut off, of another form, an error, or far longer than it may be.
    """
    try:
        completion = msgspec.json.decode(content, type=_Completion)
    except msgspec.ValidationError as error:
        raise NoAnswer(f"it answered something that is not a chat completion: {in_a_sentence(error)}") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        said = in_a_sentence(clean(content.decode(errors="replace"))[:200], 80)
        problem = f"it answered something that is not JSON, {said!r}: {in_a_sentence(error)}"
        raise NoAnswer(problem, may_pass=True) from None
    if bytes(completion.error) != b"null":
        code = _number(_decoded(completion.error, _Error))
        may_pass = code is not None and (code == 429 or code >= 500)
        raise NoAnswer(
            f"it answered with an error: {said_by_server(content, clean)}", may_pass=may_pass, status_code=code
        )
    if not completion.choices:
        raise NoAnswer("it answered without any choice", status_code=_OK)
    choice = completion.choices[0]
    text = choice.message.content or choice.message.refusal or ""
    most = _MORE_CHARACTERS + _CHARACTERS_PER_TOKEN * request.max_tokens
    if len(text) > most:
        problem = f"it answered {len(text):,} characters, where {request.max_tokens:,} tokens were asked for"
        raise NoAnswer(problem, status_code=_OK)
    usage = _decoded(completion.usage, _Usage)
    return ChatAnswer(
        text,
        choice.finish_reason != "length",
        None if usage is None else _count(usage.prompt_tokens),
        None if usage is None else _count(usage.completion_tokens),
        _logprobs(choice.logprobs, request) if request.top_logprobs else None,
    )


def _decoded(raw: msgspec.Raw, type_: Any) -> Any:
    """What an endpoint may say or not; None if it says another thing."""
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _count(number: int | None) -> int | None:
    return number if number is not None and 0 <= number <= _MOST_COUNTED else None


def _number(error: Any) -> int | None:
    code = getattr(error, "code", None)
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 100 <= code < 600 else None


def _logprobs(raw: msgspec.Raw, request: ChatRequest) -> tuple[Mapping[str, float], ...] | None:
    found = _decoded(raw, _Logprobs)
    if found is None:
        return None
    if len(found.content) > request.max_tokens:  # more than an answer can have: they are of something else
        return None
    return tuple(map(_likeliest, found.content))


def _likeliest(answered: _TokenAnswered) -> Mapping[str, float]:
    """The log-probabilities at a token, and its own; of tokens with the same text, that of the likeliest."""
    found: dict[str, float] = {}
    for each in (*answered.top_logprobs[:_MOST_LISTED], answered):
        if each.logprob is not None and math.isfinite(each.logprob):
            found[each.token] = max(each.logprob, found.get(each.token, -math.inf))
    return found
