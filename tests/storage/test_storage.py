"""Reading from good and bad HTTP servers, and from local files."""

import gzip
import os
import time
import tracemalloc
import zlib

import pytest

from helpers.loopback_server import (
    Handler,
    LoopbackServer,
    cut_short,
    in_turn,
    ok,
    reset_at_once,
    reset_in_the_middle,
    status,
)
from neuron_explainer.errors import DownloadError, MissingFileError, TooLargeError, UnsupportedLocationError
from neuron_explainer.storage import (
    HttpSettings,
    exists,
    fetch_file,
    is_url,
    joined,
    read_bytes,
    replaced_atomically,
    write_bytes_atomically,
)
from neuron_explainer.storage.locations import without_secrets

QUICK = HttpSettings(retries=2, pause=0.01, longest_pause=0.1, connect_timeout=2, read_timeout=0.3, total_timeout=1)
BODY = b'{"some": "json"}' * 1000

pytestmark = pytest.mark.usefixtures("no_cache")


def read(server: LoopbackServer, path: str = "/x", **arguments):
    return read_bytes(server.address + path, settings=QUICK, **arguments)


def test_reads_what_the_server_sends(server):
    server.routes["/x"] = ok(BODY)
    assert read(server) == BODY
    assert read(server) == BODY
    assert server.n_requests("/x") == 2  # the cache is off


@pytest.mark.parametrize("code", [404, 410])
def test_a_missing_file_is_not_retried(server, code):
    server.routes["/x"] = status(code)
    with pytest.raises(FileNotFoundError) as caught:
        read(server)
    assert isinstance(caught.value, MissingFileError)
    assert server.address + "/x" in str(caught.value)
    assert str(code) in str(caught.value)
    assert server.n_requests("/x") == 1


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504, 599])
def test_temporary_failures_are_retried(server, code):
    server.routes["/x"] = in_turn(status(code), status(code), ok(BODY))
    assert read(server) == BODY
    assert server.n_requests("/x") == 3


@pytest.mark.parametrize("code", [429, 500, 503])
def test_permanent_failures_report_their_status(server, code):
    server.routes["/x"] = status(code)
    with pytest.raises(DownloadError, match=str(code)) as caught:
        read(server)
    assert caught.value.status_code == code
    assert not isinstance(caught.value, FileNotFoundError)
    assert server.n_requests("/x") == 1 + QUICK.retries


@pytest.mark.parametrize("code", [204, 206, 304, 400, 401, 403])
def test_other_statuses_are_errors_and_not_retried(server, code):
    server.routes["/x"] = status(code)
    with pytest.raises(DownloadError, match=str(code)):
        read(server)
    assert server.n_requests("/x") == 1


def test_retry_after_is_obeyed_up_to_a_limit(server):
    patient = HttpSettings(retries=1, pause=0, longest_pause=0.25)
    server.routes["/x"] = in_turn(status(429, Retry_After="3600"), ok(BODY))
    start = time.monotonic()
    assert read_bytes(server.address + "/x", settings=patient) == BODY
    assert 0.25 <= time.monotonic() - start < 5


@pytest.mark.parametrize("header", ["soon", "-1", "9" * 5000, "Wed, 21 Oct 2015 07:28:00 GMT", "\u00b2"])
def test_an_invalid_retry_after_is_ignored(server, header):
    server.routes["/x"] = in_turn(status(503, Retry_After=header), ok(BODY))
    assert read(server) == BODY


@pytest.mark.parametrize("broken", [cut_short(BODY), reset_in_the_middle(BODY), reset_at_once])
def test_a_download_that_is_cut_off_is_retried(server, broken):
    server.routes["/x"] = in_turn(broken, ok(BODY))
    assert read(server) == BODY
    assert server.n_requests("/x") == 2


@pytest.mark.parametrize("broken", [cut_short(BODY), reset_in_the_middle(BODY), reset_at_once])
def test_a_download_that_is_always_cut_off_is_an_error(server, broken):
    server.routes["/x"] = broken
    with pytest.raises(DownloadError) as caught:
        read(server)
    assert "('" not in str(caught.value)  # a reason, not the tuple that urllib3 keeps it in
    assert server.n_requests("/x") == 1 + QUICK.retries


def test_a_chunked_answer_without_its_end_is_an_error(server):
    def respond(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n")
        handler.close_connection = True

    server.routes["/x"] = respond
    with pytest.raises(DownloadError, match="cut off"):
        read(server)


def test_a_chunked_answer_is_read(server):
    def respond(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")

    server.routes["/x"] = respond
    assert read(server) == b"hello world"


def test_a_silent_server_times_out(server):
    server.routes["/x"] = lambda handler: time.sleep(1)
    start = time.monotonic()
    with pytest.raises(DownloadError, match="could not be reached"):
        read_bytes(server.address + "/x", settings=HttpSettings(retries=0, read_timeout=0.1))
    assert time.monotonic() - start < 0.9


def test_a_slow_body_times_out(server):
    def respond(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.02)

    server.routes["/x"] = respond
    start = time.monotonic()
    with pytest.raises(DownloadError, match="took longer than"):
        read_bytes(server.address + "/x", settings=HttpSettings(retries=0, total_timeout=0.2))
    assert time.monotonic() - start < 1.5


def test_an_unreachable_server(server):
    address = server.address
    server.go_away()
    with pytest.raises(DownloadError, match="could not be reached") as caught:
        read_bytes(address + "/x?secret=1", settings=QUICK)
    assert "secret" not in str(caught.value)


def test_a_large_body_is_refused_before_its_end(server):
    server.routes["/x"] = ok(BODY)
    assert read(server, most_bytes=len(BODY)) == BODY
    with pytest.raises(TooLargeError, match=f"{len(BODY) - 1:,}"):
        read(server, most_bytes=len(BODY) - 1)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_answer_is_decompressed(server, compress):
    encoding = "gzip" if compress is gzip.compress else "deflate"
    server.routes["/x"] = ok(compress(BODY), Content_Encoding=encoding)
    assert read(server) == BODY


def test_the_limit_applies_after_decompression(server):
    server.routes["/x"] = ok(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            read(server, most_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [gzip.compress(BODY, mtime=0)[:-10], b"this is not gzip"], ids=["cut off", "not gzip"])
def test_an_incomplete_compressed_body(server, body):
    server.routes["/x"] = ok(body, Content_Encoding="gzip")
    with pytest.raises(DownloadError):
        read(server)


def test_an_unsupported_compression(server):
    server.routes["/x"] = ok(BODY, Content_Encoding="br")
    with pytest.raises(DownloadError, match="'br'"):
        read(server)


@pytest.mark.parametrize("transfer", ["gzip, chunked", "gzip", "chunked, chunked"])
def test_an_unsupported_transfer_encoding_is_no_content(server, transfer):
    server.routes["/x"] = lambda handler: handler.answer(200, BODY, Transfer_Encoding=transfer)
    with pytest.raises(DownloadError, match=f"'{transfer}'"):
        read(server)


@pytest.mark.parametrize("what", [read_bytes, exists, lambda url, settings: fetch_file(url, 10, settings=settings)])
def test_a_missing_file_of_certificates(what, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem")
    with pytest.raises(DownloadError, match=r"certificate bundle, invalid path: /nowhere") as caught:
        what("https://127.0.0.1:1/x", settings=QUICK)
    assert "written" not in str(caught.value)


def test_a_netrc_file_that_is_no_text(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.routes["/x"] = ok(BODY)
    assert read(server) == BODY


def test_a_malformed_proxy_is_named_as_such(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://ann:s3cret@ho st:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DownloadError, match="in the proxy that the environment sets") as caught:
        read(server)
    assert "s3cret" not in str(caught.value)


def test_redirects_are_followed_only_to_http(server):
    server.routes["/moved"] = status(302, Location="/x")
    server.routes["/x"] = ok(BODY)
    assert read(server, "/moved") == BODY
    server.routes["/to-file"] = status(302, Location="file:///etc/hostname")
    with pytest.raises(DownloadError, match="file:"):
        read(server, "/to-file")
    server.routes["/circle"] = status(302, Location="/circle")
    with pytest.raises(DownloadError, match="circle"):
        read(server, "/circle")


def test_exists_asks_without_reading_the_body(server):
    server.routes["/x"] = ok(BODY)
    server.routes["/forbidden"] = status(403)
    assert exists(server.address + "/x", settings=QUICK)
    assert not exists(server.address + "/y", settings=QUICK)
    with pytest.raises(DownloadError, match="403"):
        exists(server.address + "/forbidden", settings=QUICK)


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "FILE:/etc/passwd", "s3://bucket/x", "az://x/y", "ftp://x/y", "data:text", "http:x"],
)
def test_other_addresses_are_refused_by_name(location):
    with pytest.raises(UnsupportedLocationError, match=location.split(":")[0]):
        read_bytes(location)


@pytest.mark.parametrize(
    "location", ["http://[half/x?key=secret", "https://host]/x", "http://\ud800/x", "s3://[half?secret"]
)
def test_malformed_addresses_are_refused(location):
    with pytest.raises(UnsupportedLocationError, match=r"malformed|s3: addresses") as caught:
        read_bytes(location)
    assert "secret" not in str(caught.value)


def test_an_invalid_host_or_port(server):
    server.routes["/away"] = status(302, Location="http://host:99999/?key=secret")
    for address in ("http://host:99999/x?key=secret", "http://ho st/x?key=secret", server.address + "/away"):
        with pytest.raises(DownloadError, match="host or port") as caught:
            read_bytes(address, settings=QUICK)
        assert "secret" not in str(caught.value)


def test_local_files(tmp_path):
    (tmp_path / "x").write_bytes(BODY)
    assert read_bytes(tmp_path / "x") == BODY
    assert read_bytes(str(tmp_path / "x"), most_bytes=len(BODY)) == BODY
    assert exists(tmp_path / "x")
    assert not exists(tmp_path / "y")
    with pytest.raises(TooLargeError):
        read_bytes(tmp_path / "x", most_bytes=len(BODY) - 1)
    for missing in (tmp_path / "y", tmp_path / "x" / "y", tmp_path):
        with pytest.raises(MissingFileError, match=str(missing)):
            read_bytes(missing)


def test_addresses_are_joined_before_their_query():
    assert joined("https://host/root/", 3, "7.json") == "https://host/root/3/7.json"
    assert joined("https://host/root?signature=abc", 3, "7.json") == "https://host/root/3/7.json?signature=abc"
    assert joined("/a/b", 3, "7.json") == os.path.join("/a/b", "3", "7.json")
    assert without_secrets("https://user:secret@host:8/x?signature=abc") == "https://host:8/x"
    assert is_url("HTTPS://host/x")
    assert not is_url("C:\\data")


@pytest.mark.parametrize("path", [None, 5, "", b"x", "https://host/x?key=secret", "s3://bucket/x"])
def test_only_local_paths_are_written_to(path):
    with pytest.raises(UnsupportedLocationError) as caught:
        write_bytes_atomically(path, b"x")
    assert "secret" not in str(caught.value)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "made" / "file"
    with replaced_atomically(target) as temporary:
        temporary.write_bytes(b"one")
    assert target.read_bytes() == b"one"

    def interrupted():
        with replaced_atomically(target) as temporary:
            temporary.write_bytes(b"two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == b"one"
    assert os.listdir(target.parent) == ["file"]
