"""Downloads one file: checks the status, limits the size, and retries a download that is cut off."""

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
class DownloadResult:
    """What a server answered, apart from the body.

    Attributes:
        etag: the ETag, which names the file's version; None if the server sent none.
        is_unchanged: the server answered 304: the caller's version is up to date, and there is no body.
    """

    etag: str | None
    is_unchanged: bool = False


class _CutOff(Exception):
    """A download ended early."""


def download(
    url: str,
    sink: BinaryIO,
    most_bytes: int,
    *,
    known_etag: str | None = None,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> DownloadResult:
    """Download an http(s) address into `sink`.

    Args:
        url: the address.
        sink: an empty, seekable binary file. It is emptied again before a retry.
        most_bytes: the largest size allowed, after decompression.
        known_etag: the ETag of the caller's version; if it is up to date, the server sends no body.
        settings: time-outs and retries.

    Raises:
        MissingFileError: the server answered 404 or 410.
        TooLargeError: the file is larger than `most_bytes`.
        DownloadError: the server could not be reached, every attempt was cut off, or it answered with another error.
    """
    problem = ""
    for attempt in range(settings.retries + 1):
        if attempt > 1:
            time.sleep(min(settings.pause * 2 ** (attempt - 1), settings.longest_pause))
        sink.seek(0)
        sink.truncate()
        try:
            return _download_once(url, sink, most_bytes, known_etag, settings)
        except _CutOff as error:
            problem = str(error)
    attempts = f"attempts: {settings.retries + 1}"
    raise DownloadError(without_secrets(url), f"the download was cut off ({attempts}): {problem}")


def exists_at(url: str, settings: HttpSettings = DEFAULT_SETTINGS) -> bool:
    """Whether a file exists at an http(s) address.

    Raises:
        DownloadError: the server could not be reached, or answered with an error other than 404 or 410.
    """
    # Some servers refuse HEAD, so this is a GET whose body is not read.
    with _answered(url, {}, settings) as response:
        if response.status_code in (404, 410):
            return False
        _check_status(url, response)
        return True


def _download_once(
    url: str, sink: BinaryIO, most_bytes: int, known_etag: str | None, settings: HttpSettings
) -> DownloadResult:
    headers = {"Accept-Encoding": "gzip"} | ({"If-None-Match": known_etag} if known_etag else {})
    with _answered(url, headers, settings) as response:
        if response.status_code == 304 and known_etag:
            return DownloadResult(known_etag, is_unchanged=True)
        _check_status(url, response)
        n_bytes = 0
        for piece in _decompressed(url, response, _pieces(response, settings)):
            n_bytes += len(piece)
            if n_bytes > most_bytes:
                raise TooLargeError(without_secrets(url), most_bytes)
            sink.write(piece)
        return DownloadResult(response.headers.get("ETag"))


@contextlib.contextmanager
def _answered(url: str, headers: dict[str, str], settings: HttpSettings) -> Iterator[requests.Response]:
    """Context manager that yields the response, its body not yet read, and closes it."""
    try:
        response = http_session(settings).get(
            url, headers=headers, stream=True, timeout=(settings.connect_timeout, settings.read_timeout)
        )
    except requests.exceptions.InvalidSchema as error:
        raise DownloadError(without_secrets(url), f"it redirects to an address that is not http(s): {error}") from None
    except (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError):
        # The exception's own message would show the whole address, secrets included.
        raise DownloadError(without_secrets(url), "invalid host or port (here or in a redirect)") from None
    except requests.exceptions.TooManyRedirects:
        raise DownloadError(without_secrets(url), "it redirects in circles") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
        problem = f"the server could not be reached ({type(error).__name__}): {_without_address(error)}"
        hint = "Without a network, local files and earlier downloads can still be loaded."
        raise DownloadError(without_secrets(url), f"{problem}. {hint}") from None
    with response:
        yield response


def _without_address(error: Exception) -> str:
    """The innermost reason of an exception. The outer messages repeat the address with its query."""
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
        raise MissingFileError(without_secrets(url), f"file not found (the server answered {status})")
    if status != 200:
        raise DownloadError(without_secrets(url), f"the server answered {status} {response.reason}", status)


def _pieces(response: requests.Response, settings: HttpSettings) -> Iterator[bytes]:
    """The body as sent, piece by piece. urllib3 checks it against Content-Length, or chunks against their lengths."""
    deadline = time.monotonic() + settings.total_timeout
    try:
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
            yield piece
            if time.monotonic() > deadline:
                raise _CutOff(f"it took longer than {settings.total_timeout:g} s")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _CutOff(_without_address(error)) from None


def _decompressed(url: str, response: requests.Response, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The decompressed body, in pieces of bounded size, even if a few compressed bytes expand to many."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise DownloadError(
            without_secrets(url), f"the server used the compression {encoding[:40]!r}, which is unsupported"
        )
    decompressor = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # gzip or zlib, as its header says
    try:
        for piece in pieces:
            pending = piece
            while pending and not decompressor.eof:
                yield decompressor.decompress(pending, _PIECE_BYTES)
                pending = decompressor.unconsumed_tail
    except zlib.error as error:
        raise _CutOff(f"it cannot be decompressed: {error}") from None
    if not decompressor.eof:
        raise _CutOff("the compressed body is incomplete")
