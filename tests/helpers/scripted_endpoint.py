"""An endpoint on 127.0.0.1 that speaks chat completions as a script says, well or badly. It stops by itself.

    with scripted_endpoint(lambda question: question.last) as endpoint:
        endpoint.script = [refused(500), stalled(), said("yes")]  # of the first three requests; then the function
        client = OpenAICompatibleClient(endpoint.base_url, "a-model", pause=0.001)

`endpoint.questions` are those that came; `endpoint.answered` those of them that were answered as they should.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from helpers.loopback_server import Handler, LoopbackServer

Reply = Callable[["Question"], str]
Play = Callable[["ChatHandler", "Question"], None]
"""What is done with a request."""


@dataclass(frozen=True)
class Question:
    """A request as it came."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    path: str = ""

    @property
    def last(self) -> str:
        """The text of the last message."""
        return str(self.body["messages"][-1]["content"])


class ChatHandler(Handler):
    """Plays the next part of the endpoint's script."""

    server: LoopbackServer

    def do_POST(self) -> None:
        endpoint = self.server.__dict__["endpoint"]
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        question = Question(json.loads(content), dict(self.headers), self.path)
        with contextlib.suppress(ConnectionError), endpoint.counted(question) as play:
            play(self, question)


@dataclass
class ScriptedEndpoint:
    """What it is told, and what it was asked.

    Attributes:
        reply: the answer's text to a question, where the script is at its end.
        script: what is done with the next requests, in turn; it gets shorter.
        questions: the requests, in the order in which they came.
        answered: the last messages of those that `said` and the replies answered.
        most_at_once: how many requests were under way at the same time, at most.
        seconds: how long each reply takes.
    """

    server: LoopbackServer
    reply: Reply
    script: list[Play] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    most_at_once: int = 0
    seconds: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def base_url(self) -> str:
        """Its address, as clients want it."""
        return f"{self.server.address}/v1"

    @contextlib.contextmanager
    def counted(self, question: Question) -> Iterator[Play]:
        """Counts a request while it is under way; gives what is done with it."""
        with self._lock:
            self.questions.append(question)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            play = self.script.pop(0) if self.script else self._play_reply
        try:
            yield play
        finally:
            with self._lock:
                self._at_once -= 1

    def _play_reply(self, handler: ChatHandler, question: Question) -> None:
        self.stopping.wait(self.seconds)
        said(self.reply(question))(handler, question)

    def note_answered(self, question: Question) -> None:
        """A question was answered."""
        with self._lock:
            self.answered.append(question.last)

    def wait_for_questions(self, number: int, seconds: float = 5.0) -> None:
        """Wait until so many have come."""
        end = time.monotonic() + seconds
        while len(self.questions) < number:
            assert time.monotonic() < end, f"{len(self.questions)} of {number} questions have come"
            time.sleep(0.005)


@contextlib.contextmanager
def scripted_endpoint(reply: Reply = lambda question: "Yes.") -> Iterator[ScriptedEndpoint]:
    """A running endpoint.

    Args:
        reply: the answer's text to a question, where no script says another thing.
    """
    with LoopbackServer() as server:
        server.RequestHandlerClass = ChatHandler
        endpoint = ScriptedEndpoint(server, reply)
        server.__dict__["endpoint"] = endpoint
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.stopping.set()
            server.go_away()
            thread.join()


def endpoint_of(handler: ChatHandler) -> ScriptedEndpoint:
    """The endpoint that a handler belongs to."""
    endpoint: ScriptedEndpoint = handler.server.__dict__["endpoint"]
    return endpoint


def completion(
    text: str | None,
    *,
    finish: str = "stop",
    tokens: tuple[int, int] | None = (10, 5),
    logprobs: Sequence[Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """A chat completion as endpoints write it.

    Args:
        text: the answer.
        finish: why it ended.
        tokens: how many were read and written; None: it does not say.
        logprobs: for each token of the answer, the likeliest ones.
    """
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
        "logprobs": None,
    }
    if logprobs is not None:
        choice["logprobs"] = {
            "content": [
                {
                    "token": next(iter(each)),
                    "logprob": next(iter(each.values())),
                    "top_logprobs": [{"token": token, "logprob": value} for token, value in each.items()],
                }
                for each in logprobs
            ]
        }
    whole: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    if tokens is not None:
        whole["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return whole


def said(text: str | None, **options: Any) -> Play:
    """Answers with this text; options are those of `completion`."""

    def play(handler: ChatHandler, question: Question) -> None:
        handler.answer(200, json.dumps(completion(text, **options)).encode(), Content_Type="application/json")
        endpoint_of(handler).note_answered(question)

    return play


def refused(status: int, message: str = "an error", **headers: str) -> Play:
    """Answers with an error; headers are such as `Retry_After="1"`."""

    def play(handler: ChatHandler, question: Question) -> None:
        body = json.dumps({"error": {"message": message, "type": "error", "code": status}}).encode()
        handler.answer(status, body, Content_Type="application/json", **headers)

    return play


def rubbish(body: bytes, status: int = 200, **headers: str) -> Play:
    """Answers with these bytes."""
    return lambda handler, question: handler.answer(status, body, **{"Content_Type": "application/json", **headers})


def stalled(handler: ChatHandler, question: Question) -> None:
    """Never answers, as long as the endpoint runs."""
    endpoint_of(handler).stopping.wait()


def truncated(handler: ChatHandler, question: Question) -> None:
    """Ends the connection in the middle of an answer."""
    body = json.dumps(completion("It is cut off.")).encode()
    handler.close_connection = True
    handler.answer(200, body[: len(body) // 2], len(body))


def reset(handler: ChatHandler, question: Question) -> None:
    """Breaks the connection."""
    handler.reset()


def dripped(seconds_between: float = 0.01, n_bytes: int = 10**6) -> Play:
    """Sends an answer byte by byte."""

    def play(handler: ChatHandler, question: Question) -> None:
        _begin(handler, n_bytes)
        for _ in range(n_bytes):
            if endpoint_of(handler).stopping.wait(seconds_between):
                return
            handler.wfile.write(b" ")
            handler.wfile.flush()

    return play


def endless(handler: ChatHandler, question: Question) -> None:
    """Sends an answer without end."""
    _begin(handler, 10**12)
    handler.wfile.write(b'{"choices": [{"message": {"content": "')
    while not endpoint_of(handler).stopping.is_set():
        handler.wfile.write(b"x" * 65536)


def redirected(to: str, status: int = 307) -> Play:
    """Sends the client elsewhere."""
    return lambda handler, question: handler.answer(status, b"", Location=to)


def _begin(handler: ChatHandler, n_bytes: int) -> None:
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(n_bytes))
    handler.end_headers()
