"""The connection to an endpoint, through the openai package: bounded in size and time, and careful with the key.

The openai package is given no key: a request gets its headers when it leaves, by a list of those that it may have. So
nothing of the package's own environment variables (an organisation's name, another key, further headers) goes to an
endpoint, and no object of it knows the key. Redirects are not followed. Answers are not compressed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any
from urllib.parse import quote

from neuron_explainer.errors import EndpointError, MissingPackageError
from neuron_explainer.explanations.clients.client import ChatAnswer
from neuron_explainer.explanations.clients.wire import said_by_server
from neuron_explainer.storage.download import seconds_asked
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.wording import in_a_sentence

_MOST_BYTES = 16 * 2**20
_KEPT_HEADERS = frozenset(
    {
        "host",
        "accept",
        "connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "x-stainless-raw-response",  # by which the package knows that it should not parse the answer
    }
)
_USER_AGENT = "neuron-explainer-jupyter"


class TurnedAway(Exception):
    """A question was not answered, and may be another time: `error` says why, `wait` how long the endpoint asks for."""

    def __init__(self, error: EndpointError, wait: float | None = None) -> None:
        self.error = error
        self.wait = wait
        super().__init__(str(error))


class Refused(Exception):
    """A question was refused: `error` says why, `said` is what the endpoint said of it."""

    def __init__(self, error: EndpointError, said: str) -> None:
        self.error = error
        self.said = said
        super().__init__(str(error))


class _TooLarge(Exception):
    """An answer is larger than an answer can be, or has a form that was not asked for."""


@dataclass(frozen=True, repr=False)
class Key:
    """A key, which shows itself nowhere."""

    value: str

    def is_in(self, text: str) -> bool:
        """Whether a text has it."""
        return self.value in text

    @property
    def is_secret(self) -> bool:
        """Whether it can be one: endpoints that want none are given words, such as "none", which answers have, too."""
        return len(self.value) >= 20 or (len(self.value) >= 8 and not self.value.isalpha())

    def removed_from(self, text: str) -> str:
        """A text from outside without the key, should it have it, as it is or as JSON and addresses write it."""
        for spelling in {self.value, self.value.replace("/", "\\/"), quote(self.value, safe="")}:
            text = text.replace(spelling, "[key]")
        return text


class Connection:
    """A connection, as an asynchronous context.

    Args:
        base_url: the endpoint's address.
        key: the key; None: none is sent.
        timeout: the seconds that an answer may take.

    Raises:
        MissingPackageError: the openai package is not installed.
    """

    def __init__(self, base_url: str, key: Key | None, timeout: float) -> None:
        self._base_url = base_url
        self._key = key
        self._timeout = timeout
        self._openai = imported_openai()
        bounded = _bounded_stream_class(_http_library().AsyncByteStream)

        async def bound(response: Any) -> None:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise _TooLarge("it answered in a compressed form, which was not asked for")
            response.stream = bounded(response.stream)

        client = self._openai.DefaultAsyncHttpxClient(
            follow_redirects=False,
            timeout=timeout,
            event_hooks={"request": [self._dress], "response": [bound]},
            verify=_security(),
        )
        self._client = self._openai.AsyncOpenAI(
            base_url=base_url, api_key="none", max_retries=0, timeout=timeout, http_client=client
        )

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):  # a connection that is broken already
            await self._client.close()

    async def _dress(self, request: Any) -> None:
        """The headers of a request that leaves."""
        for name in {name.lower() for name in request.headers} - _KEPT_HEADERS:
            del request.headers[name]
        request.headers["User-Agent"] = _USER_AGENT
        request.headers["Accept-Encoding"] = "identity"
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key.value}"

    async def answer_to(self, body: Mapping[str, Any]) -> bytes:
        """What the endpoint answers to a request.

        Args:
            body: what is sent.

        Raises:
            TurnedAway: it cannot be reached, breaks off, takes too long, or asks to come again.
            Refused: it refuses, or answers without end.
        """
        status, content, wait, problem = await self._exchange(body)  # errors are raised without those of the package
        if problem is not None:
            raise TurnedAway(EndpointError(self._base_url, problem))
        if status == 0:
            said = content.decode()
            raise Refused(EndpointError(self._base_url, said), said)
        if status == 200:
            return content
        said, short = self.clean(content.decode(errors="replace")), said_by_server(content, self.clean)
        error = EndpointError(self._base_url, f"the endpoint answered {status}{_advice(status, short)}", status)
        if status in (408, 409, 425, 429) or (status >= 500 and status != 501):
            raise TurnedAway(error, wait)
        raise Refused(error, said)

    def clean(self, text: str) -> str:
        """A text from the endpoint without the key. It must be whole: of a key that is cut, the rest would stay."""
        return text if self._key is None else self._key.removed_from(text)

    def without_key(self, answer: ChatAnswer) -> ChatAnswer:
        """An answer without the key, should the endpoint say it back: answers are kept in files."""
        key = self._key
        if key is None or not key.is_secret:
            return answer
        if not (key.is_in(answer.text) or any(map(key.is_in, chain(*(answer.logprobs or ()))))):
            return answer
        logprobs = answer.logprobs and tuple(
            {key.removed_from(token): value for token, value in each.items()} for each in answer.logprobs
        )
        return replace(answer, text=key.removed_from(answer.text), logprobs=logprobs)

    async def _exchange(self, body: Mapping[str, Any]) -> tuple[int, bytes, float | None, str | None]:
        """Status, body and Retry-After of an answer; or why none came.

        Status 0 without such a reason: the body says why there is no need to ask again.
        """
        openai = self._openai
        try:
            async with asyncio.timeout(self._timeout):
                answered = await self._client.chat.completions.with_raw_response.create(**body)
                return answered.status_code, answered.content, None, None
        except openai.APIStatusError as error:
            response = error.response
            if 300 <= response.status_code < 400:
                elsewhere = without_secrets(response.headers.get("location", ""))
                return response.status_code, elsewhere.encode(errors="replace"), None, None
            return response.status_code, response.content, seconds_asked(response.headers.get("retry-after", "")), None
        except (TimeoutError, openai.APITimeoutError):
            return 0, b"", None, f"the endpoint took longer than {self._timeout:g} s"
        except _TooLarge as error:
            return 0, str(error).encode(), None, None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, _TooLarge):
                return 0, str(error.__cause__).encode(), None, None
            return 0, b"", None, f"the endpoint could not be reached: {self._reason(error)}"
        except openai.OpenAIError as error:
            return 0, f"the openai package failed: {self._reason(error)}".encode(), None, None

    def _reason(self, error: BaseException) -> str:
        cause = error.__cause__ or error
        return in_a_sentence(self.clean(str(cause))) or type(cause).__name__


def imported_openai() -> Any:
    """The openai package.

    Raises:
        MissingPackageError: it, or tenacity, is not installed.
    """
    for package in ("openai", "tenacity"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise MissingPackageError(package, "explain", "OpenAICompatibleClient asks an endpoint") from None
    return importlib.import_module("openai")


def _http_library() -> Any:
    """The library that the openai package sends requests with: httpx, or a later one of the same interface."""
    client_class = imported_openai().DefaultAsyncHttpxClient
    return importlib.import_module(client_class.__mro__[1].__module__.partition(".")[0])


@functools.cache
def _security() -> Any:
    """The certificates that https addresses are checked by. They are read once: that takes long."""
    return _http_library().create_ssl_context()


def _bounded_stream_class(stream_class: type) -> Any:
    """A class of streams of bytes that end, made for the HTTP library that the openai package uses."""

    class BoundedStream(stream_class):
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            n_bytes = 0
            async for piece in self._stream:
                n_bytes += len(piece)
                if n_bytes > _MOST_BYTES:
                    raise _TooLarge(f"the endpoint answered more than {_MOST_BYTES:,} bytes")
                yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    return BoundedStream


def _advice(status: int, said: str) -> str:
    """What an endpoint said, and what to do about it."""
    advice = ""
    if 300 <= status < 400:
        return f", a redirect to {said or 'nowhere'}, which is not followed. If it is right, give it as base_url"
    if status == 401:
        advice = ": it wants another key. api_key_env names the environment variable that has it"
    elif status == 404:
        advice = ": it does not know the model, or base_url is not its address, which often ends in /v1"
    return advice + (f". It says: {said}" if said else "")
