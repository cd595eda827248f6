"""The disk cache of downloads: each file is downloaded once, and can be read later without a network.

A downloaded body is stored in `bodies/` under its own SHA-256. An entry in `entries/`, under the SHA-256 of the
address, holds the body's name, its size and its ETag. Both are written to temporary files and renamed, the body before
its entry. So another process sees an old entry or a new one, and a killed process leaves only files in `unfinished/`,
which are never read. Every read checks the body against its name; a broken entry is dropped.

The folder is in the user's cache folder. The environment variable NEURON_EXPLAINER_CACHE sets another folder, or turns
the cache off with the value `off`.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

import msgspec
import platformdirs

from neuron_explainer.storage.atomic import write_bytes_atomically

CACHE_VARIABLE = "NEURON_EXPLAINER_CACHE"
_VERSION_FOLDER = "v1"
_LARGE_BYTES = 16 * 2**20
_ABANDONED_SECONDS = 24 * 3600.0
_LOG = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True):
    """The contents of an entry's file."""

    url: str
    sha256: str
    n_bytes: int
    etag: str | None


@dataclass(frozen=True)
class CachedFile:
    """A downloaded file in the cache, checked: its path, and the ETag that the server gave it (None without one)."""

    path: Path
    etag: str | None


class DiskCache:
    """A cache of downloads in a folder. Several processes may use it at the same time."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._root = self.folder / _VERSION_FOLDER
        # A process hashes a large body once, while its size and modification time stay the same.
        self._checked: set[tuple[str, int, int, int]] = set()

    def find(self, url: str) -> CachedFile | None:
        """The cached file of an address; None if it is missing or broken."""
        entry_path = self._entry_path(url)
        try:
            entry = msgspec.json.decode(entry_path.read_bytes(), type=_Entry)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            self._drop_broken(url, f"its entry cannot be read: {error}")
            return None
        is_valid = entry.url == url and _is_hash(entry.sha256)
        body = self._body_path(entry.sha256)
        problem = self._body_problem(body, entry) if is_valid else "its entry belongs to another address"
        if problem is not None:
            self._drop_broken(url, problem)
            return None
        return CachedFile(body, entry.etag)

    @contextlib.contextmanager
    def unfinished_file(self) -> Iterator[BufferedRandom]:
        """Context manager that yields a file to download into. It is removed at the end unless `keep` took it."""
        folder = self._root / "unfinished"
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        path = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            with path.open("w+b") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def keep(self, url: str, file: BufferedRandom, etag: str | None) -> CachedFile:
        """Make an `unfinished_file` the cached file of an address. Closes the file."""
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        n_bytes = file.seek(0, os.SEEK_END)
        file.close()  # Windows cannot rename an open file
        body = self._body_path(digest)
        body.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file.name, body)
        self._write_entry(_Entry(url=url, sha256=digest, n_bytes=n_bytes, etag=etag))
        return CachedFile(body, etag)

    def drop(self, url: str) -> None:
        """Remove the entry of an address."""
        self._entry_path(url).unlink(missing_ok=True)

    def n_bytes(self) -> int:
        """How many bytes the cache takes."""
        total = 0
        for path in self._root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # another process may clear the cache, too
                total += path.stat().st_size if path.is_file() else 0
        return total

    def clear(self) -> int:
        """Remove everything in the cache, but no other file in its folder. Returns the bytes freed."""
        freed = self.n_bytes()
        shutil.rmtree(self._root, ignore_errors=True)
        self._checked.clear()
        return freed

    def _entry_path(self, url: str) -> Path:
        digest = hashlib.sha256(url.encode()).hexdigest()
        return self._root / "entries" / digest[:2] / f"{digest}.json"

    def _body_path(self, digest: str) -> Path:
        return self._root / "bodies" / digest[:2] / digest

    def _write_entry(self, entry: _Entry) -> None:
        # Entries are checked when read, so there is no need to wait for the disk.
        write_bytes_atomically(self._entry_path(entry.url), msgspec.json.encode(entry), durable=False)

    def _body_problem(self, body: Path, entry: _Entry) -> str | None:
        try:
            with body.open("rb") as file:
                status = os.fstat(file.fileno())
                version = (entry.sha256, status.st_ino, status.st_size, status.st_mtime_ns)
                if version in self._checked:
                    return None
                if status.st_size != entry.n_bytes or hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                    return "its body differs from the download"
        except OSError as error:
            return f"its body cannot be read: {error}"
        if entry.n_bytes > _LARGE_BYTES:
            self._checked.add(version)
        return None

    def _drop_broken(self, url: str, problem: str) -> None:
        _LOG.warning("Dropped a broken entry of the disk cache (%s): %s", self.folder, problem)
        with contextlib.suppress(OSError):
            self.drop(url)


def cache_folder() -> Path | None:
    """The folder of the disk cache; None if NEURON_EXPLAINER_CACHE is `off`."""
    setting = os.environ.get(CACHE_VARIABLE, "")
    if setting.strip().lower() == "off":
        return None
    return Path(setting).expanduser() if setting else Path(platformdirs.user_cache_dir("neuron_explainer"))


_CACHES: dict[Path, DiskCache] = {}


def default_cache() -> DiskCache | None:
    """The disk cache in `cache_folder()`; None if the cache is off."""
    folder = cache_folder()
    return None if folder is None else _CACHES.setdefault(folder, DiskCache(folder))


def clear_cache() -> int:
    """Remove all downloads from the disk cache.

    Local neuron datasets, and the dataset and model inside this package, are not touched.

    Returns:
        The number of bytes freed.

    An example: `ne.clear_cache()`.
    """
    cache = default_cache()
    return 0 if cache is None else cache.clear()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _remove_abandoned(folder: Path) -> None:
    """Remove files that a killed process left behind. A running download's file is newer."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
