"""Servers that mean harm: the time, the bytes, the memory and the credentials of a download are bounded."""

import base64
import contextlib
import gzip
import logging
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from helpers.loopback_server import Handler, LoopbackServer, Respond, loopback_server, ok, status
from neuron_explainer.errors import DownloadError, TooLargeError
from neuron_explainer.storage import HttpSettings, exists, read_bytes
from neuron_explainer.storage.http_exchange import _followed

HURRIED = HttpSettings(retries=1, pause=0.01, longest_pause=0.1, connect_timeout=2, read_timeout=0.4, total_timeout=0.6)
PATIENT = HttpSettings(retries=1, pause=0.01, longest_pause=0.1, connect_timeout=2, read_timeout=5, total_timeout=60)
LIMIT = 100_000
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

pytestmark = pytest.mark.usefixtures("no_cache")


def raw(beginning: bytes, repeated: bytes, pause: float = 0.0, most: int = 200_000_000) -> Respond:
    """Sends the beginning, then the repeated bytes until the client goes away."""

    def respond(handler: Handler) -> None:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(beginning)
            for _ in range(0, most, len(repeated)):
                handler.wfile.write(repeated)
                handler.wfile.flush()
                handler.server.n_sent = getattr(handler.server, "n_sent", 0) + len(repeated)  # type: ignore[attr-defined]
                if pause:
                    time.sleep(pause)

    return respond


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def read(server: LoopbackServer, settings: HttpSettings) -> bytes:
    return read_bytes(server.address + "/x", LIMIT, settings=settings)


PAUSE = 0.05
DRIPPING = {
    "a status line": raw(b"", b"H", PAUSE),
    "headers": raw(OK, b"X: y\r\n", PAUSE),
    "one header": raw(OK + b"X: ", b"y", PAUSE),
    "100 Continue": raw(b"", b"HTTP/1.1 100 Continue\r\n\r\n", PAUSE),
    "a body": raw(OK + b"Content-Length: 1000000\r\n\r\n", b"x", PAUSE),
    "a body without length": raw(OK + b"\r\n", b"x", PAUSE),
    "a chunk's length": raw(CHUNKED, b"0", PAUSE),
    "chunks": raw(CHUNKED, b"1\r\nx\r\n", PAUSE),
    "trailers": raw(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n", PAUSE),
    "a redirect's body": raw(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 1000000\r\n\r\n", b"x", PAUSE),
    "a failure's body": raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n", b"x", PAUSE),
}


@pytest.mark.parametrize("place", DRIPPING)
def test_a_server_that_drips_meets_the_deadline(server, place):
    server.routes["/x"] = DRIPPING[place]
    start = time.monotonic()
    with pytest.raises(DownloadError):
        read(server, HURRIED)
    assert time.monotonic() - start < 3


ENDLESS = {
    "headers": raw(OK, b"X: y\r\n" * 1000),
    "one header": raw(OK + b"X: ", b"y" * 10_000),
    "100 Continue": raw(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "a body": raw(OK + b"\r\n", b"x" * 10_000),
    "a chunk's length": raw(CHUNKED, b"0" * 10_000),
    "the extension of a chunk": raw(CHUNKED + b"1;", b"x" * 10_000),
    "small chunks": raw(CHUNKED, b"1\r\nx\r\n" * 1000),
    "trailers": raw(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 1000),
    "a redirect's body": raw(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"x" * 10_000),
    "a failure's body": raw(b"HTTP/1.1 503 Busy\r\n\r\n", b"x" * 10_000),
    "a failure's compressed body": raw(
        b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(bytes(10_000_000))
    ),
}


@pytest.mark.parametrize("place", ENDLESS)
def test_a_server_without_end_is_left(server, place):
    server.routes["/x"] = ENDLESS[place]
    start = time.monotonic()
    with little_memory(), pytest.raises((DownloadError, TooLargeError)):
        read(server, PATIENT)
    assert time.monotonic() - start < 30  # of the 60 seconds that it may take
    assert getattr(server, "n_sent", 0) < 60_000_000  # what was read, and what the system had buffered


def test_the_body_of_a_redirect_is_not_read(server):
    bomb = gzip.compress(bytes(100_000_000))
    server.routes["/x"] = ok(b"found")
    server.routes["/moved"] = lambda handler: handler.answer(302, bomb, Location="/x", Content_Encoding="gzip")
    with little_memory():
        assert read_bytes(server.address + "/moved", LIMIT, settings=PATIENT) == b"found"


def test_pauses_between_retries_count(server):
    server.routes["/x"] = status(503, Retry_After="100")
    settings = HttpSettings(retries=5, longest_pause=100, total_timeout=0.3)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"took longer than 0\.3 s"):
        read(server, settings)
    assert time.monotonic() - start < 3


def test_a_declared_size_and_existence_of_an_endless_file(server):
    server.routes["/x"] = ENDLESS["a body"]
    assert exists(server.address + "/x", settings=PATIENT)
    server.routes["/y"] = ENDLESS["100 Continue"]
    with pytest.raises(DownloadError):
        exists(server.address + "/y", settings=PATIENT)


def test_gzip_of_several_parts_is_read_whole(server):
    server.routes["/x"] = ok(gzip.compress(b"one ") + gzip.compress(b"two"), Content_Encoding="gzip")
    assert read(server, PATIENT) == b"one two"
    server.routes["/x"] = ok(gzip.compress(b"one ") + b"garbage", Content_Encoding="gzip")
    with pytest.raises(DownloadError, match="cannot be decompressed"):
        read(server, PATIENT)


# Credentials


def sent_to(server: LoopbackServer, path: str) -> list[str | None]:
    return [headers.get("Authorization") for asked, headers in server.requests if asked.partition("?")[0] == path]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("of", ["address", "netrc"])
def test_credentials_stay_with_their_host(server, tmp_path, monkeypatch, of):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password secret\n" if of == "netrc" else "")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    mine = server.address if of == "netrc" else server.address.replace("://", "://ann:secret@")
    with loopback_server() as other:
        other.routes["/away"] = ok(b"far")
        server.routes["/near"] = ok(b"near")
        server.routes["/to-near"] = status(302, Location="/near")
        server.routes["/to-near-in-full"] = status(302, Location=server.address + "/near")
        server.routes["/to-away"] = status(307, Location=other.address + "/away?of=the-server")
        for path in ("/near", "/to-near", "/to-near-in-full"):
            assert read_bytes(mine + path, settings=PATIENT) == b"near"
        assert read_bytes(mine + "/to-away?token=secret", settings=PATIENT) == b"far"
        assert sent_to(server, "/near") == [basic("ann", "secret")] * 3
        assert sent_to(server, "/to-away") == [basic("ann", "secret")]
        assert sent_to(other, "/away") == [None]
        assert not any("secret" in str(request) for request in other.requests)


def test_redirects_from_https_to_http_are_refused():
    assert _followed("https://host/a/b", "../c#d", "shown") == "https://host/c"
    assert _followed("http://host/a", "https://host/b", "shown") == "https://host/b"
    for target in ("http://host/b?key=secret", "HTTP://host/b?key=secret"):
        with pytest.raises(DownloadError, match=r"from https to http: http://host/b$"):
            _followed("https://host/a", target, "shown")
    with pytest.raises(DownloadError, match="malformed"):
        _followed("https://host/a", "https://[half", "shown")


# What a server says, in messages and logs


def test_what_a_server_says_is_cut_and_escaped(server):
    reason = "Not\x1b[31m so \u0085" + "x" * 50_000
    server.routes["/x"] = raw(f"HTTP/1.1 403 {reason}\r\n\r\n".encode("latin-1"), b"x", most=1)
    with pytest.raises(DownloadError, match="403 Not") as caught:
        read(server, PATIENT)
    message = str(caught.value)
    assert len(message) < 400
    assert message.isprintable()
    server.routes["/x"] = raw(b"\x1b[31m" + b"y" * 50_000 + b"\r\n", b"x", most=1)
    with pytest.raises(DownloadError) as caught:
        read(server, PATIENT)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_an_unusual_etag_is_not_kept(server, monkeypatch, tmp_path):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path))
    for etag in ('"a"\r\n b', "x" * 5000, "\xe9"):
        server.routes["/x"] = raw(
            OK + b"ETag: " + etag.encode("latin-1") + b"\r\nContent-Length: 1\r\n\r\n", b"x", most=1
        )
        for _ in range(2):
            assert read_bytes(server.address + "/x", settings=PATIENT, revalidate=True) == b"x"
    sent = [headers.get("If-None-Match", "") for _, headers in server.requests]
    assert len(sent) == 6
    assert all(value.isascii() and value.isprintable() and len(value) < 1000 for value in sent)


def test_the_log_of_urllib3_shows_no_query(server, caplog):
    server.routes["/x"] = ok(b"found")
    with caplog.at_level(logging.DEBUG):
        read_bytes(server.address.replace("://", "://ann:secret@") + "/x?X-Amz-Signature=secret", settings=PATIENT)
    assert "/x?…" in caplog.text
    assert "secret" not in caplog.text


def test_the_log_of_other_requests_is_left_alone(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3.connectionpool").debug("%s", "/x?a=1")
    assert "/x?a=1" in caplog.text


def test_threads_have_allowances_of_their_own(server):
    server.routes["/slow"] = DRIPPING["a body"]
    server.routes["/x"] = ok(b"found")
    results: list[object] = []

    def attempt(read_it: Callable[[], bytes]) -> None:
        try:
            results.append(read_it())
        except DownloadError:
            results.append("too slow")

    slow = threading.Thread(target=attempt, args=(lambda: read_bytes(server.address + "/slow", settings=HURRIED),))
    slow.start()
    for _ in range(20):
        attempt(lambda: read(server, PATIENT))
    slow.join()
    assert results.count(b"found") == 20
    assert results.count("too slow") == 1
