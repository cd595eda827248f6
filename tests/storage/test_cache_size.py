"""The disk cache stays within its limit, keeps what is in use, and tells nobody else what was downloaded."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from helpers.loopback_server import loopback_server, ok, status
from neuron_explainer.errors import DownloadError, InvalidRequestError, MissingFileError, OutOfSpaceError
from neuron_explainer.storage import DiskCache, HttpSettings, fetch_file, read_bytes
from neuron_explainer.storage.cache_size import bytes_of, cache_limit

QUICK = HttpSettings(retries=0, connect_timeout=2, read_timeout=2)
KILOBYTE = 1000

pytestmark = pytest.mark.usefixtures("cache_path")


@pytest.fixture
def server():
    with loopback_server() as running:
        for number in range(20):
            running.routes[f"/{number}"] = ok(os.urandom(100 * KILOBYTE))
        yield running


def kept(cache: DiskCache, address: str) -> list[int]:
    return [number for number in range(20) if cache.find(f"{address}/{number}") is not None]


def put(cache: DiskCache, url: str, *, used: float, hold: bool = False) -> Path:
    with cache.unfinished_file() as file:
        file.write(os.urandom(100 * KILOBYTE))
        found = cache.keep(url, file, None, hold=hold)
    os.utime(cache._entry_path(url), (used, used))
    return found.path


@pytest.mark.parametrize(
    ("size", "expected"),
    [("0", 0), ("1000", 1000), ("1.5kB", 1500), ("2 MiB", 2 * 2**20), ("3g", 3 * 10**9), ("20 gib", 20 * 2**30)],
)
def test_sizes(size, expected, monkeypatch):
    assert bytes_of(size) == expected
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE_BYTES", size)
    assert cache_limit() == expected


@pytest.mark.parametrize("size", ["-1", "many", "1 PB", "1e9", "٣", "1" * 500])
def test_what_is_no_size(size, monkeypatch, server):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE_BYTES", size)
    with pytest.raises(InvalidRequestError, match="NEURON_EXPLAINER_CACHE_BYTES is"):
        read_bytes(server.address + "/0", settings=QUICK)


def test_the_usual_limit(monkeypatch):
    monkeypatch.delenv("NEURON_EXPLAINER_CACHE_BYTES", raising=False)
    assert cache_limit() == 20 * 2**30


def test_the_cache_stays_within_its_limit(server, cache_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE_BYTES", "1MB")
    for number in range(20):
        read_bytes(f"{server.address}/{number}", settings=QUICK)
        assert DiskCache(cache_path).n_bytes() <= 1000 * KILOBYTE
    assert 19 in kept(DiskCache(cache_path), server.address)


def test_what_was_used_least_recently_goes_first(cache_path):
    cache = DiskCache(cache_path)
    for number in range(10):
        put(cache, f"http://host/{number}", used=1000.0 + number)
    assert cache.find("http://host/0") is not None  # which uses it
    assert cache.trim(500 * KILOBYTE) > 500 * KILOBYTE
    assert kept(cache, "http://host") == [0, 7, 8, 9]
    assert cache.n_bytes() <= 500 * KILOBYTE


def test_a_body_of_two_addresses_stays_while_one_of_them_does(cache_path):
    cache = DiskCache(cache_path)
    for number, used in ((0, 1000.0), (1, 2000.0)):
        with cache.unfinished_file() as file:
            file.write(b"x" * 100 * KILOBYTE)
            cache.keep(f"http://host/{number}", file, None)
        os.utime(cache._entry_path(f"http://host/{number}"), (used, used))
    cache._remove_oldest(1, set())
    assert kept(cache, "http://host") == [1]


def test_what_this_process_was_given_the_path_of_stays(cache_path, server):
    path = fetch_file(server.address + "/0", 200 * KILOBYTE, settings=QUICK)
    again = DiskCache(cache_path)
    put(again, "http://host/1", used=1e10)
    again.trim(0)
    assert path.exists()
    assert kept(again, server.address) == [0]
    assert kept(again, "http://host") == []


HOLDER = textwrap.dedent("""
    import sys
    from neuron_explainer.storage.disk_cache import DiskCache
    assert DiskCache(sys.argv[1]).find("http://host/0", hold=True) is not None
    print("held", flush=True)
    sys.stdin.read()
""")


def test_what_another_process_uses_stays_as_long_as_it_lives(cache_path):
    cache = DiskCache(cache_path)
    for number in range(3):
        put(cache, f"http://host/{number}", used=1000.0)
    holder = [sys.executable, "-c", HOLDER, str(cache_path)]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        cache.trim(0)
        assert kept(cache, "http://host") == [0]
        process.kill()
    cache.trim(0)
    assert kept(cache, "http://host") == []
    assert not list((cache_path / "v1" / "in_use").iterdir())


def test_only_its_user_can_read_the_cache(cache_path, server):
    old_mask = os.umask(0)
    try:
        address = server.address.replace("://", "://ann:s3cret@") + "/0?X-Amz-Signature=s3cret"
        read_bytes(address, settings=QUICK)
        fetch_file(address, 200 * KILOBYTE, settings=QUICK)
    finally:
        os.umask(old_mask)
    found = [cache_path / "v1", *(cache_path / "v1").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}
    assert (cache_path / "v1").stat().st_mode & 0o777 == 0o700
    assert not [path for path in found if path.is_file() and b"s3cret" in path.read_bytes()]
    assert read_bytes(address, settings=QUICK)
    assert server.n_requests("/0") == 1


def test_without_a_cache_large_files_come_all_the_same(server, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    for setting in ("off", str(tmp_path / "file")):
        monkeypatch.setenv("NEURON_EXPLAINER_CACHE", setting)
        server.routes["/large"] = ok(setting.encode())
        url = f"{server.address}/large?{len(setting)}"
        path = fetch_file(url, 1000, settings=QUICK)
        assert path.read_bytes() == setting.encode()
        assert fetch_file(url, 1000, settings=QUICK) == path
        assert "until this process ends" in caplog.text
        with pytest.raises(MissingFileError):
            fetch_file(server.address + "/missing", 1000, settings=QUICK)
        with pytest.raises(MissingFileError):
            read_bytes(server.address + "/missing", settings=QUICK)
    assert server.n_requests("/large") == 2


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, OutOfSpaceError), (errno.EIO, DownloadError)])
def test_a_disk_that_refuses(server, monkeypatch, number, error):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("neuron_explainer.storage.disk_cache.os.replace", refuse)
    with pytest.raises(error, match=r"full|written"):
        fetch_file(server.address + "/0", 200 * KILOBYTE, settings=QUICK)
    assert len(read_bytes(server.address + "/0", settings=QUICK)) == 100 * KILOBYTE


def test_a_missing_file_while_the_folder_of_the_cache_is_a_file(server, cache_path):
    cache_path.write_text("not a folder")
    server.routes["/gone"] = status(404)
    with pytest.raises(MissingFileError):
        read_bytes(server.address + "/gone", settings=QUICK)
