"""Downloads one file: checks the status, limits the time and the size, and retries a download that is cut off."""

import contextlib
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import BinaryIO, TypeVar

import requests
import urllib3

from neuron_explainer.errors import DownloadError, MissingFileError, TooLargeError
from neuron_explainer.storage.http_exchange import Unreachable, answered, innermost_reason
from neuron_explainer.storage.http_limits import Allowance, OutOfBytes, OutOfTime, limited_to
from neuron_explainer.storage.http_settings import DEFAULT_SETTINGS, HttpSettings
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.wording import in_a_sentence

_RETRIED_STATUS_CODES = (429, *range(500, 600))
_PIECE_BYTES = 64 * 1024
_OVERHEAD_BYTES = 2**18  # of headers, redirects and the lengths of chunks
_USUAL_ETAG = re.compile(r"[\x20-\x7e]{1,1000}")
T = TypeVar("T")


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


class _TurnedAway(Exception):
    """The server answered with a status that is worth a retry. `wait` is what its Retry-After asks for, in seconds."""

    def __init__(self, error: DownloadError, wait: float | None) -> None:
        self.error = error
        self.wait = wait


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
        DownloadError: the server could not be reached, every attempt was cut off, the time is over, or the server
            answered with another error.
    """
    n_bytes = (settings.retries + 1) * (most_bytes + most_bytes // 16 + _OVERHEAD_BYTES)
    allowance = Allowance(settings.total_timeout, n_bytes, settings.read_timeout)

    def attempt() -> DownloadResult:
        sink.seek(0)
        sink.truncate()
        return _download_once(url, sink, most_bytes, known_etag, settings, allowance)

    try:
        return _with_retries(url, settings, allowance, attempt)
    except OutOfBytes:
        raise TooLargeError(without_secrets(url), most_bytes) from None


def exists_at(url: str, settings: HttpSettings = DEFAULT_SETTINGS) -> bool:
    """Whether a file exists at an http(s) address.

    Raises:
        DownloadError: the server could not be reached, or answered with an error other than 404 or 410.
    """
    allowance = Allowance(settings.total_timeout, (settings.retries + 1) * _OVERHEAD_BYTES, settings.read_timeout)

    def attempt() -> bool:
        # Some servers refuse HEAD, so this is a GET whose body is not read.
        with answered(url, {}, settings, allowance) as response:
            if response.status_code in (404, 410):
                return False
            _check_status(url, response)
            return True

    try:
        return _with_retries(url, settings, allowance, attempt)
    except OutOfBytes:
        raise DownloadError(without_secrets(url), "the server's answer has no end") from None


def _with_retries(url: str, settings: HttpSettings, allowance: Allowance, attempt: Callable[[], T]) -> T:
    """The result of the first attempt that is not cut off or turned away.

    Raises:
        DownloadError: the last attempt's error, or that the time is over.
    """
    wait: float | None = None
    try:
        for number in range(settings.retries + 1):
            if number:
                _pause(number, wait, settings, allowance)
            wait = None
            try:
                with limited_to(allowance):
                    return attempt()
            except Unreachable as error:
                problem = error.error
            except _TurnedAway as error:
                problem, wait = error.error, error.wait
            except _CutOff as error:
                attempts = f"attempts: {settings.retries + 1}"
                problem = DownloadError(without_secrets(url), f"the download was cut off ({attempts}): {error}")
    except OutOfTime:
        problem = DownloadError(without_secrets(url), f"the download took longer than {settings.total_timeout:g} s")
    raise problem


def _pause(number: int, asked: float | None, settings: HttpSettings, allowance: Allowance) -> None:
    """Wait before a retry (from 1): as long as the server asked for, else not before the first, then ever longer."""
    usual = settings.pause * 2 ** (number - 1) if number > 1 else 0.0
    seconds = min(usual if asked is None else asked, settings.longest_pause)
    time.sleep(min(seconds, allowance.seconds_left()))


def _download_once(
    url: str, sink: BinaryIO, most_bytes: int, known_etag: str | None, settings: HttpSettings, allowance: Allowance
) -> DownloadResult:
    headers = {"Accept-Encoding": "gzip"} | ({"If-None-Match": known_etag} if known_etag else {})
    with answered(url, headers, settings, allowance) as response:
        if response.status_code == 304 and known_etag:
            return DownloadResult(known_etag, is_unchanged=True)
        _check_status(url, response)
        n_bytes = 0
        for piece in _decompressed(url, response, allowance):
            n_bytes += len(piece)
            if n_bytes > most_bytes:
                raise TooLargeError(without_secrets(url), most_bytes)
            sink.write(piece)
        etag = response.headers.get("ETag", "")
        return DownloadResult(etag if _USUAL_ETAG.fullmatch(etag) else None)


def _check_status(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status in (404, 410):
        raise MissingFileError(without_secrets(url), f"file not found (the server answered {status})")
    if status != 200:
        answer = in_a_sentence(f"{status} {response.reason or ''}")
        error = DownloadError(without_secrets(url), f"the server answered {answer}", status)
        if status in _RETRIED_STATUS_CODES:
            raise _TurnedAway(error, seconds_asked(response.headers.get("Retry-After", "")))
        raise error


def seconds_asked(retry_after: str) -> float | None:
    """The seconds that a Retry-After asks to wait, as a number or as a date; None if it asks for none."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after.strip()):
        return float(retry_after)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(retry_after[:100]).timestamp() - time.time())
    return None


def _pieces(response: requests.Response, allowance: Allowance) -> Iterator[bytes]:
    """The body as sent, piece by piece. urllib3 checks it against Content-Length, or chunks against their lengths."""
    try:
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
            yield piece
            allowance.seconds_left()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _CutOff(innermost_reason(error)) from None


def _unsupported(url: str, encoding: str) -> DownloadError:
    shown = in_a_sentence(encoding, 40)
    return DownloadError(without_secrets(url), f"the server used the compression {shown!r}, which is unsupported")


def _decompressed(url: str, response: requests.Response, allowance: Allowance) -> Iterator[bytes]:
    """The decompressed body, in pieces of bounded size, even if a few compressed bytes expand to many."""
    transfer = response.headers.get("Transfer-Encoding", "identity").strip().lower()
    if transfer not in ("identity", "chunked", ""):  # http.client would pass on the chunks' lengths as content
        raise _unsupported(url, transfer)
    pieces = _pieces(response, allowance)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise _unsupported(url, encoding)
    wbits = 32 + zlib.MAX_WBITS  # gzip or zlib, as its header says
    decompressor = zlib.decompressobj(wbits)
    try:
        for piece in pieces:
            pending = piece
            while pending:
                if decompressor.eof:  # gzip may consist of several parts
                    decompressor = zlib.decompressobj(wbits)
                yield decompressor.decompress(pending, _PIECE_BYTES)
                pending = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
                allowance.seconds_left()
    except zlib.error as error:
        raise _CutOff(f"it cannot be decompressed: {error}") from None
    if not decompressor.eof:
        raise _CutOff("the compressed body is incomplete")
