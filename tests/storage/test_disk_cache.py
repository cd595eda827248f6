"""The disk cache: nothing broken is ever given out, whatever happened to it."""

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import neuron_explainer as ne
from helpers.loopback_server import in_turn, loopback_server, ok, status
from neuron_explainer.errors import DownloadError, MissingFileError
from neuron_explainer.storage import DiskCache, HttpSettings, cache_folder, fetch_file, read_bytes, read_decoded
from neuron_explainer.storage.atomic import replaced_atomically

QUICK = HttpSettings(retries=1, pause=0.01, longest_pause=0.1, connect_timeout=2, read_timeout=1)

pytestmark = pytest.mark.usefixtures("cache_path")


@pytest.fixture
def server():
    with loopback_server() as running:
        running.routes["/x"] = ok(b"first")
        yield running


def bodies(cache_path: Path) -> list[Path]:
    return [path for path in (cache_path / "v1" / "bodies").rglob("*") if path.is_file()]


def entries(cache_path: Path) -> list[Path]:
    return [path for path in (cache_path / "v1" / "entries").rglob("*") if path.is_file()]


def test_what_was_downloaded_is_not_downloaded_again(server, cache_path):
    url = server.address + "/x"
    for _ in range(3):
        assert read_bytes(url, settings=QUICK) == b"first"
    assert server.n_requests("/x") == 1
    assert len(bodies(cache_path)) == len(entries(cache_path)) == 1


def test_addresses_that_differ_in_their_query_are_different(server):
    url = server.address + "/x"
    read_bytes(url + "?a=1", settings=QUICK)
    read_bytes(url + "?a=2", settings=QUICK)
    assert server.n_requests("/x") == 2


def test_offline_what_is_cached_still_loads(server):
    url = server.address + "/x"
    read_bytes(url, settings=QUICK)
    server.go_away()
    assert read_bytes(url, settings=QUICK) == b"first"
    assert read_bytes(url, settings=QUICK, revalidate=True) == b"first"
    assert fetch_file(url, 100, settings=QUICK, revalidate=True).read_bytes() == b"first"
    with pytest.raises(DownloadError):
        read_bytes(url, settings=QUICK, use_cache=False)


def test_revalidation_asks_by_etag_and_takes_what_is_new(server):
    url = server.address + "/x"
    server.routes["/x"] = in_turn(ok(b"first", ETag='"1"'), status(304), ok(b"second", ETag='"2"'))
    assert read_bytes(url, settings=QUICK) == b"first"
    assert read_bytes(url, settings=QUICK, revalidate=True) == b"first"
    assert server.requests[-1][1]["If-None-Match"] == '"1"'
    assert read_bytes(url, settings=QUICK, revalidate=True) == b"second"
    assert read_bytes(url, settings=QUICK) == b"second"
    assert server.n_requests("/x") == 3


def test_revalidation_learns_that_a_thing_is_gone(server):
    url = server.address + "/x"
    read_bytes(url, settings=QUICK)
    server.routes["/x"] = status(404)
    with pytest.raises(MissingFileError):
        read_bytes(url, settings=QUICK, revalidate=True)
    with pytest.raises(MissingFileError):
        read_bytes(url, settings=QUICK)


def test_errors_are_not_cached(server, cache_path):
    server.routes["/x"] = in_turn(status(404), ok(b"now"))
    with pytest.raises(MissingFileError):
        read_bytes(server.address + "/x", settings=QUICK)
    assert read_bytes(server.address + "/x", settings=QUICK) == b"now"


def decode_digits(content: bytes) -> int:
    return int(content)


def test_what_cannot_be_decoded_is_not_kept(server, cache_path):
    url = server.address + "/x"
    server.routes["/x"] = in_turn(ok(b"<html>"), ok(b"42"))
    with pytest.raises(ValueError, match="html"):
        read_decoded(url, decode_digits, settings=QUICK)
    assert not entries(cache_path)
    assert read_decoded(url, decode_digits, settings=QUICK) == 42


def test_what_is_cached_and_cannot_be_decoded_is_downloaded_again(server):
    url = server.address + "/x"
    server.routes["/x"] = in_turn(ok(b"<html>"), ok(b"42"))
    read_bytes(url, settings=QUICK)
    assert read_decoded(url, decode_digits, settings=QUICK) == 42
    assert read_bytes(url, settings=QUICK) == b"42"


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flip":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "gone":
        path.unlink()
    elif how == "file above":
        shutil.rmtree(path.parent)
        path.parent.write_bytes(b"")
    else:
        path.unlink()
        if how == "pipe":
            os.mkfifo(path)
        elif how == "endless":
            path.symlink_to("/dev/zero")
        elif how == "link to nothing":
            path.symlink_to("nowhere")
        else:
            path.mkdir()
            if how == "full folder":
                (path / "x").write_bytes(b"x")


HARMS = ["cut", "flip", "empty", "gone", "folder", "full folder", "pipe", "endless", "link to nothing", "file above"]


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("what", [bodies, entries])
def test_a_damaged_entry_is_dropped_and_downloaded_again(server, cache_path, what, how):
    url = server.address + "/x"
    read_bytes(url, settings=QUICK)
    (path,) = what(cache_path)
    damage(path, how)
    server.routes["/x"] = ok(b"second")
    assert read_bytes(url, settings=QUICK) == b"second"
    assert read_bytes(url, settings=QUICK) == b"second"
    assert server.n_requests("/x") == 2


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("what", [bodies, entries])
def test_a_damaged_entry_of_a_large_file_is_replaced(server, cache_path, what, how):
    url = server.address + "/x"
    fetch_file(url, 10, settings=QUICK)
    (path,) = what(cache_path)
    damage(path, how)
    for _ in range(2):  # the same content, so that it is to be written where the damage is
        assert fetch_file(url, 10, settings=QUICK).read_bytes() == b"first"
    assert server.n_requests("/x") == 2


def test_an_entry_cannot_name_a_file_outside_the_cache(server, cache_path, tmp_path):
    url = server.address + "/x"
    read_bytes(url, settings=QUICK)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (entry,) = entries(cache_path)
    text = entry.read_text()
    entry.write_text(text.replace(hashlib.sha256(b"first").hexdigest(), "../../../../secret").replace(":5", ":6"))
    assert read_bytes(url, settings=QUICK) == b"first"
    assert server.n_requests("/x") == 2


def test_an_entry_of_another_address_is_dropped(server, cache_path):
    read_bytes(server.address + "/x", settings=QUICK)
    (entry,) = entries(cache_path)
    server.routes["/y"] = ok(b"of y")
    read_bytes(server.address + "/y", settings=QUICK)
    (other,) = set(entries(cache_path)) - {entry}
    other.write_bytes(entry.read_bytes())
    assert read_bytes(server.address + "/y", settings=QUICK) == b"of y"


def test_a_body_is_renamed_when_complete(cache_path):
    cache = DiskCache(cache_path)
    with cache.unfinished_file() as file:
        file.write(b"body")
        inode = os.fstat(file.fileno()).st_ino
        kept = cache.keep("http://host/x", file, None)
    assert kept.path.stat().st_ino == inode  # it was renamed, not copied


def test_an_unwritable_cache_does_not_fail_reading(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("this is no folder")
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "file"))
    assert read_bytes(server.address + "/x", settings=QUICK) == b"first"


def test_the_cache_can_be_switched_off_and_moved(server, monkeypatch, tmp_path):
    url = server.address + "/x"
    for setting in ("off", "OFF"):
        monkeypatch.setenv("NEURON_EXPLAINER_CACHE", setting)
        assert cache_folder() is None
        read_bytes(url, settings=QUICK)
    assert server.n_requests("/x") == 2
    assert ne.clear_cache() == 0
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "~/mine")
    assert cache_folder() == Path.home() / "mine"
    monkeypatch.delenv("NEURON_EXPLAINER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() is not None


def test_the_folder_of_the_cache_by_a_name(server, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "relative")
    path = fetch_file(server.address + "/x", 10, settings=QUICK)
    monkeypatch.chdir("elsewhere")
    assert path.read_bytes() == b"first"
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", " ")
    folder = cache_folder()
    assert folder is not None
    assert folder.name == "neuron_explainer"
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "~no-such-user/x")
    assert read_bytes(server.address + "/x", settings=QUICK) == b"first"
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "a" * 5000)
    assert read_bytes(server.address + "/x", settings=QUICK) == b"first"
    assert ne.clear_cache() == 0


def test_clear_cache_removes_only_the_caches_files(server, cache_path):
    url = server.address + "/x"
    read_bytes(url, settings=QUICK)
    other = cache_path / "not ours"
    other.write_text("stays")
    assert ne.clear_cache() > len(b"first")
    assert sorted(cache_path.iterdir()) == [other]
    read_bytes(url, settings=QUICK)
    assert server.n_requests("/x") == 2


def test_large_files_come_as_paths(server, cache_path, tmp_path):
    body = os.urandom(3_000_000)
    server.routes["/x"] = ok(body)
    path = fetch_file(server.address + "/x", len(body), settings=QUICK)
    assert path.read_bytes() == body
    assert fetch_file(server.address + "/x", len(body), settings=QUICK) == path
    assert server.n_requests("/x") == 1
    assert fetch_file(path, 10) == path
    with pytest.raises(MissingFileError):
        fetch_file(tmp_path / "nothing", 10)
    assert not list((cache_path / "v1" / "unfinished").iterdir())


WRITER = textwrap.dedent("""
    import os, sys
    from neuron_explainer.storage.disk_cache import DiskCache
    from neuron_explainer.storage.reading import _keep
    cache = DiskCache(sys.argv[1])
    print("begun", flush=True)
    for turn in range(int(sys.argv[2])):
        letter = b"abcdefgh"[turn % 8 : turn % 8 + 1]
        _keep(cache, "http://host/x", letter * 300_000, letter.decode())
""")


def start_writer(cache_path: Path, turns: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(cache_path), str(turns)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


def check_sound(cache: DiskCache) -> bool:
    """Whether a file is cached; it must then be one complete version."""
    found = cache.find("http://host/x")
    if found is None:
        return False
    assert found.etag is not None
    content = found.path.read_bytes()
    assert len(content) == 300_000
    assert content == found.etag.encode() * 300_000
    return True


def test_a_killed_writer_leaves_nothing_broken(cache_path):
    cache = DiskCache(cache_path)
    met = 0
    for delay in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05):
        with start_writer(cache_path, 1_000_000) as process:
            time.sleep(delay)
            process.kill()
        met += check_sound(cache)
    assert met


def test_two_writers_at_once_leave_nothing_broken(cache_path, caplog):
    cache = DiskCache(cache_path)
    met = 0
    with start_writer(cache_path, 60) as one, start_writer(cache_path, 60) as other:
        while one.poll() is None or other.poll() is None:
            met += check_sound(cache)
    assert one.returncode == other.returncode == 0
    assert check_sound(cache)
    assert met
    assert not caplog.records  # nothing had to be dropped


def test_many_threads_at_once(server):
    url = server.address + "/x"
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(read_bytes(url, settings=QUICK))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"first"] * 16


def test_files_of_killed_processes_are_removed_later(cache_path, server):
    unfinished = cache_path / "v1" / "unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "old").write_bytes(b"x")
    os.utime(unfinished / "old", (0, 0))
    (unfinished / "new").write_bytes(b"x")
    read_bytes(server.address + "/x", settings=QUICK)
    assert [path.name for path in unfinished.iterdir()] == ["new"]


def test_atomically_written_files_have_the_usual_mode(tmp_path):
    """Even if the writer creates a file that only its owner can read, as safetensors does."""
    (tmp_path / "usual").touch()
    with replaced_atomically(tmp_path / "written") as temporary:
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "usual").stat().st_mode
