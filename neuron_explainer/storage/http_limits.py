"""One deadline and one number of bytes for a whole download, however the server spreads them.

The time-outs of `requests` are for single reads, so a server that sends a byte now and then, or "100 Continue" for
ever, could go on without end. Here every read of a connection, headers and trailers included, takes from one
`Allowance`.
"""

import contextlib
import http.client
import io
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import urllib3

from neuron_explainer.wording import in_a_sentence

_LONGEST_LINE = 64 * 1024


class OutOfTime(Exception):
    """The download's time is used up."""


class OutOfBytes(Exception):
    """The server sent more than the download may take, or a line without end."""


class Allowance:
    """The time and the bytes that a download has left, with all of its redirects and retries.

    Args:
        seconds: for the whole download.
        n_bytes: how many bytes servers may send in all.
        longest_read: the seconds that one read may take.
    """

    def __init__(self, seconds: float, n_bytes: int, longest_read: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._n_bytes = n_bytes
        self._longest_read = longest_read

    def seconds_left(self) -> float:
        """The seconds left, above 0.

        Raises:
            OutOfTime: none are left.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left

    def next_read(self) -> float:
        """The seconds that the next read may take.

        Raises:
            OutOfTime: no time is left.
        """
        return min(self._longest_read, self.seconds_left())

    def take(self, n_bytes: int) -> None:
        """Count bytes that a server sent.

        Raises:
            OutOfBytes: they are too many.
        """
        self._n_bytes -= n_bytes
        if self._n_bytes < 0:
            raise OutOfBytes


_CURRENT: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


@contextlib.contextmanager
def limited_to(allowance: Allowance) -> Iterator[None]:
    """Within this context, what this thread reads from our connections takes from the allowance."""
    token = _CURRENT.set(allowance)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class _LimitedSocket(io.RawIOBase):
    """What a socket receives, taken from an allowance."""

    def __init__(self, received: Any, socket: Any, allowance: Allowance) -> None:
        self._received = received
        self._socket = socket
        self._allowance = allowance

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._received.fileno())

    def readinto(self, buffer: Any) -> int | None:
        seconds = self._allowance.next_read()
        self._socket.settimeout(seconds)
        try:
            n_bytes: int | None = self._received.readinto(buffer)
        except TimeoutError:
            self._allowance.seconds_left()  # raises if it was the download's time that ran out
            raise
        self._allowance.take(n_bytes or 0)
        return n_bytes

    def close(self) -> None:
        self._received.close()
        super().close()


class _BoundedLines(io.BufferedReader):
    """A buffered reader that refuses a line without end, even where its caller sets no limit."""

    def readline(self, size: int | None = -1, /) -> bytes:
        if size is not None and 0 <= size <= _LONGEST_LINE + 1:
            return super().readline(size)
        line = super().readline(_LONGEST_LINE + 1)
        if len(line) > _LONGEST_LINE:
            raise OutOfBytes
        return line


class _LimitedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        allowance = _CURRENT.get()
        if allowance is not None:
            received = self.fp.detach()
            self.fp = _BoundedLines(_LimitedSocket(received, sock, allowance))


class _LimitedHTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _LimitedResponse


class _LimitedHTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _LimitedResponse


class _LimitedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _LimitedHTTPConnection


class _LimitedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _LimitedHTTPSConnection


LIMITED_POOLS = {"http": _LimitedHTTPPool, "https": _LimitedHTTPSPool}
"""urllib3's pools of connections by scheme, with responses that take from the allowance of their thread."""


class _WithoutSecrets(logging.Filter):
    """urllib3 logs addresses with their query, which may be a signature. The log of our own requests leaves it out."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _CURRENT.get() is not None and isinstance(record.args, tuple):
            record.args = tuple(map(_loggable, record.args))
        return True


def _loggable(argument: object) -> object:
    if isinstance(argument, str):
        address, question_mark, _ = argument.partition("?")
        return in_a_sentence(address + ("?…" if question_mark else ""))
    return in_a_sentence(argument) if isinstance(argument, Exception) else argument


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutSecrets())
