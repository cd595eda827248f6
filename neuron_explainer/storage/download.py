"""One download: status checked, size bounded, broken-off answers tried again."""

import contextlib
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import requests
import urllib3

from neuron_explainer.errors import DownloadError, MissingFileError, TooLargeError
from neuron_explainer.storage.http_session import http_session
from neuron_explainer.storage.http_settings import DEFAULT_SETTINGS, HttpSettings
from neuron_explainer.storage.locations import without_secrets

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What a server said beside the body.

    Attributes:
        etag: the version's name, None where the server gives none.
        is_unchanged: it said 304, and there is no body: the version that was named is the present one.
    """

    etag: str | None
    is_unchanged: bool = False


class _BrokenOff(Exception):
    """An answer ended before its end."""


def download(
    url: str,
    sink: BinaryIO,
    most_bytes: int,
    *,
    known_etag: str | None = None,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> Answer:
    """Read an http(s) address into `sink`.

    Args:
        url: the address.
        sink: an empty, seekable binary file; an answer that breaks off is taken back out of it.
        most_bytes: the size allowed, after decompression.
        known_etag: the version that the caller has; if it is the present one, no body is sent.
        settings: time-outs and retries.

    Raises:
        MissingFileError: the server answered 404 or 410.
        TooLargeError: there are more than `most_bytes`.
        DownloadError: unreachable, broken off every time, or answered with another error.
    """
    problem = ""
    for attempt in range(settings.retries + 1):
        if attempt > 1:
            time.sleep(min(settings.pause * 2 ** (attempt - 1), settings.longest_pause))
        sink.seek(0)
        sink.truncate()
        try:
            return _download_once(url, sink, most_bytes, known_etag, settings)
        except _BrokenOff as error:
            problem = str(error)
    raise DownloadError(without_secrets(url), f"the answer broke off, {settings.retries + 1} times over: {problem}")


def exists_at(url: str, settings: HttpSettings = DEFAULT_SETTINGS) -> bool:
    """Whether there is something at an http(s) address.

    Raises:
        DownloadError: the server could not be reached, or answered neither that there is nor that there is not.
    """
    # Not HEAD, which some servers refuse: the body of a GET is not read.
    with _answered(url, {}, settings) as response:
        if response.status_code in (404, 410):
            return False
        _check_status(url, response)
        return True


def _download_once(url: str, sink: BinaryIO, most_bytes: int, known_etag: str | None, settings: HttpSettings) -> Answer:
    headers = {"Accept-Encoding": "gzip"} | ({"If-None-Match": known_etag} if known_etag else {})
    with _answered(url, headers, settings) as response:
        if response.status_code == 304 and known_etag:
            return Answer(known_etag, is_unchanged=True)
        _check_status(url, response)
        n_bytes = 0
        for piece in _decompressed(url, response, _pieces(response, settings)):
            n_bytes += len(piece)
            if n_bytes > most_bytes:
                raise TooLargeError(without_secrets(url), most_bytes)
            sink.write(piece)
        return Answer(response.headers.get("ETag"))


@contextlib.contextmanager
def _answered(url: str, headers: dict[str, str], settings: HttpSettings) -> Iterator[requests.Response]:
    """The answer's head, its body not yet read; closed afterwards."""
    try:
        response = http_session(settings).get(
            url, headers=headers, stream=True, timeout=(settings.connect_timeout, settings.read_timeout)
        )
    except requests.exceptions.InvalidSchema as error:
        raise DownloadError(without_secrets(url), f"it redirects to what is no http(s) address: {error}") from None
    except (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError):
        # its message holds the whole address
        raise DownloadError(
            without_secrets(url), "its host or port, or those of what it redirects to, cannot be any"
        ) from None
    except requests.exceptions.TooManyRedirects:
        raise DownloadError(without_secrets(url), "it redirects in circles") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
        problem = f"it could not be reached ({type(error).__name__}): {_without_address(error)}"
        hint = "Without a network, what was downloaded before and what is on this machine still loads."
        raise DownloadError(without_secrets(url), f"{problem}. {hint}") from None
    with response:
        yield response


def _without_address(error: Exception) -> str:
    """The innermost reason: the outer ones repeat the address with its query."""
    reason: object = error
    while isinstance(reason, Exception):
        causes = (argument for argument in reason.args if isinstance(argument, Exception))
        inner = getattr(reason, "reason", None) or next(causes, None)
        if not isinstance(inner, Exception):
            break
        reason = inner
    return str(reason).rpartition(">: ")[2] or type(error).__name__


def _check_status(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status in (404, 410):
        raise MissingFileError(without_secrets(url), f"the server answered {status}, there is nothing here")
    if status != 200:
        raise DownloadError(without_secrets(url), f"the server answered {status} {response.reason}", status)


def _pieces(response: requests.Response, settings: HttpSettings) -> Iterator[bytes]:
    """The body as it was sent. urllib3 checks it against Content-Length, and chunks against their lengths."""
    deadline = time.monotonic() + settings.total_timeout
    try:
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
            yield piece
            if time.monotonic() > deadline:
                raise _BrokenOff(f"it took longer than {settings.total_timeout:g} s")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _BrokenOff(_without_address(error)) from None


def _decompressed(url: str, response: requests.Response, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The body's bytes, a bounded number at a time, however much a few compressed ones stand for."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise DownloadError(
            without_secrets(url), f"the server sent it compressed as {encoding[:40]!r}, which was not asked for"
        )
    decompressor = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # gzip or zlib, as its header says
    try:
        for piece in pieces:
            pending = piece
            while pending and not decompressor.eof:
                yield decompressor.decompress(pending, _PIECE_BYTES)
                pending = decompressor.unconsumed_tail
    except zlib.error as error:
        raise _BrokenOff(f"it cannot be decompressed: {error}") from None
    if not decompressor.eof:
        raise _BrokenOff("the compressed body is not whole")
