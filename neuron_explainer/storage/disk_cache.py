"""The disk cache of downloads: each file is downloaded once, and can be read later without a network.

A downloaded body is stored in `bodies/` under its own SHA-256. An entry in `entries/`, under the SHA-256 of the
address, holds the body's name, its size and its ETag. Both are written to temporary files and renamed, the body before
its entry. So another process sees an old entry or a new one, and a killed process leaves only files in `unfinished/`,
which are never read. Every read checks the body against its name; a broken entry is dropped.

The folder is in the user's cache folder. The environment variable NEURON_EXPLAINER_CACHE sets another folder, or turns
the cache off with the value `off`. Only its user can read it, and an entry names its address without credentials.

The cache takes at most NEURON_EXPLAINER_CACHE_BYTES (20 GiB unless set). When a download exceeds that, the files that
were used least recently are removed, but none that a process has been given the path of (see `cache_size`).
"""

import contextlib
import hashlib
import logging
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

import msgspec
import platformdirs

from neuron_explainer.errors import MissingFileError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.cache_size import FilesInUse, cache_limit, private_opener
from neuron_explainer.storage.local import folder_size, opened_file, read_local_bytes
from neuron_explainer.storage.locations import expanded, without_secrets

CACHE_VARIABLE = "NEURON_EXPLAINER_CACHE"
_VERSION_FOLDER = "v1"
_LARGE_BYTES = 16 * 2**20
_ABANDONED_SECONDS = 24 * 3600.0
_USE_SECONDS = 60.0
_ORPHAN_SECONDS = 3600.0
_PAUSE_SECONDS = 10.0
_MOST_ENTRY_BYTES = 64 * 1024
_LOG = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True):
    """The contents of an entry's file."""

    address: str  # for people: without credentials
    key: str  # the SHA-256 of the whole address
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
        self._in_use = FilesInUse(self._root)
        self._n_bytes_before: int | None = None  # when it was last counted
        self._n_bytes_since = 0
        self._next_trim = 0.0

    def find(self, url: str, *, hold: bool = False) -> CachedFile | None:
        """The cached file of an address; None if it is missing or broken.

        Args:
            url: the address.
            hold: whether to keep the file from being removed to make room, as long as this process lives.
        """
        entry_path = self._entry_path(url)
        try:
            entry = msgspec.json.decode(read_local_bytes(entry_path, _MOST_ENTRY_BYTES), type=_Entry)
        except MissingFileError:
            return None
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._drop_broken(url, f"its entry cannot be read: {error}")
            return None
        is_valid = entry.key == _hash(url) and _is_hash(entry.sha256)
        if is_valid and hold:
            self._in_use.add(entry.sha256)
        body = self._body_path(entry.sha256)
        problem = self._body_problem(body, entry) if is_valid else "its entry belongs to another address"
        if problem is not None:
            self._drop_broken(url, problem)
            return None
        with contextlib.suppress(OSError):
            if time.time() - entry_path.stat().st_mtime > _USE_SECONDS:
                os.utime(entry_path)  # its last use
        return CachedFile(body, entry.etag)

    def is_writable(self) -> bool:
        """Whether files can be put into the cache, as far as its folder tells."""
        try:
            return os.access(self._private(self._root / "unfinished"), os.W_OK | os.X_OK)
        except OSError:
            return False

    @contextlib.contextmanager
    def unfinished_file(self) -> Iterator[BufferedRandom]:
        """Context manager that yields a file to download into. It is removed at the end unless `keep` took it."""
        folder = self._private(self._root / "unfinished")
        _remove_abandoned(folder)
        path = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            with open(path, "w+b", opener=private_opener) as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def keep(self, url: str, file: BufferedRandom, etag: str | None, *, hold: bool = False) -> CachedFile:
        """Make an `unfinished_file` the cached file of an address, and make room for it. Closes the file.

        Args:
            url: the address.
            file: what `unfinished_file` gave.
            etag: the ETag that the server sent; None without one.
            hold: as for `find`.

        Raises:
            InvalidRequestError: NEURON_EXPLAINER_CACHE_BYTES is not a size.
        """
        limit = cache_limit()
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        n_bytes = file.seek(0, os.SEEK_END)
        file.close()  # Windows cannot rename an open file
        body = self._body_path(digest)
        self._private(body.parent)
        if hold:
            self._in_use.add(digest)
        _remove_folder(body)
        os.replace(file.name, body)
        entry = _Entry(address=without_secrets(url), key=_hash(url), sha256=digest, n_bytes=n_bytes, etag=etag)
        path = self._entry_path(url)
        self._private(path.parent)
        _remove_folder(path)
        # Entries are checked when read, so there is no need to wait for the disk.
        write_bytes_atomically(path, msgspec.json.encode(entry), durable=False, private=True)
        self._make_room(n_bytes, limit)
        return CachedFile(body, etag)

    def drop(self, url: str) -> None:
        """Remove the entry of an address. What cannot be removed stays."""
        with contextlib.suppress(OSError):
            self._entry_path(url).unlink()

    def trim(self, most_bytes: int) -> int:
        """Remove the files that were used least recently, until at most `most_bytes` are left. Returns the bytes freed.

        Files stay that a process has been given the path of.
        """
        with self._in_use.alone() as is_alone:
            before = self.n_bytes()
            if is_alone and before > most_bytes:
                self._remove_oldest(before - most_bytes, self._in_use.all())
            left = self.n_bytes()
        self._n_bytes_before, self._n_bytes_since = left, 0
        return before - left

    def _make_room(self, n_bytes: int, limit: int) -> None:
        """Keep the cache within its limit after a download of `n_bytes`. It is rarely counted: that takes time."""
        self._n_bytes_since += n_bytes
        before = self._n_bytes_before
        is_counted = before is not None and self._n_bytes_since < limit // 20  # others may have written, too
        if (is_counted and (before or 0) + self._n_bytes_since <= limit) or time.monotonic() < self._next_trim:
            return
        if self.trim(limit) and self.n_bytes() > limit * 9 // 10:
            self.trim(limit * 9 // 10)  # so that the next downloads need not
        if (self._n_bytes_before or 0) > limit:  # the rest is in use
            self._next_trim = time.monotonic() + _PAUSE_SECONDS

    def _remove_oldest(self, n_bytes: int, in_use: set[str]) -> None:
        """Remove entries, the least recently used first, and bodies without entries, of at least `n_bytes` in all."""
        used: list[tuple[float, Path, str]] = []
        n_entries: Counter[str] = Counter()
        for path in (self._root / "entries").rglob("*.json"):
            with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
                entry = msgspec.json.decode(read_local_bytes(path, _MOST_ENTRY_BYTES), type=_Entry)
                used.append((path.stat().st_mtime, path, entry.sha256))
                n_entries[entry.sha256] += 1
        freed = 0
        for body in (self._root / "bodies").rglob("*"):  # those that no entry names
            with contextlib.suppress(OSError):
                status = body.stat()
                is_old = time.time() - status.st_mtime > _ORPHAN_SECONDS
                if body.is_file() and is_old and not n_entries[body.name] and body.name not in in_use:
                    body.unlink()
                    freed += status.st_size
        for _, path, digest in sorted(used):
            if freed >= n_bytes:
                return
            if digest in in_use:
                continue
            with contextlib.suppress(OSError):
                freed += path.stat().st_size
                path.unlink()
                n_entries[digest] -= 1
                if not n_entries[digest] and _is_hash(digest):
                    freed += self._body_path(digest).stat().st_size
                    self._body_path(digest).unlink()

    def _private(self, folder: Path) -> Path:
        """A folder of the cache, made if missing, which only its user may enter."""
        below = folder.relative_to(self._root).parts
        for path in (self._root.joinpath(*below[:n]) for n in range(1, len(below) + 1)):
            if os.path.lexists(path) and not path.is_dir():  # a file, or a link to nothing, is in its place
                path.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._root.stat().st_mode & 0o077:
            self._root.chmod(0o700)
        return folder

    def n_bytes(self) -> int:
        """How many bytes the cache takes."""
        return folder_size(self._root)

    def clear(self) -> int:
        """Remove everything in the cache, but no other file in its folder. Returns the bytes freed."""
        freed = self.n_bytes()
        shutil.rmtree(self._root, ignore_errors=True)
        self._checked.clear()
        return freed

    def _entry_path(self, url: str) -> Path:
        digest = _hash(url)
        return self._root / "entries" / digest[:2] / f"{digest}.json"

    def _body_path(self, digest: str) -> Path:
        return self._root / "bodies" / digest[:2] / digest

    def _body_problem(self, body: Path, entry: _Entry) -> str | None:
        try:
            with opened_file(body) as file:
                status = os.fstat(file.fileno())
                version = (entry.sha256, status.st_ino, status.st_size, status.st_mtime_ns)
                if version in self._checked:
                    return None
                if status.st_size != entry.n_bytes or hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                    return "its body differs from the download"
        except (OSError, MissingFileError) as error:
            return f"its body cannot be read: {error}"
        if entry.n_bytes > _LARGE_BYTES:
            self._checked.add(version)
        return None

    def _drop_broken(self, url: str, problem: str) -> None:
        _LOG.warning("Dropped a broken entry of the disk cache (%s): %s", self.folder, problem)
        self.drop(url)


def cache_folder() -> Path | None:
    """The folder of the disk cache; None if NEURON_EXPLAINER_CACHE is `off`."""
    setting = os.environ.get(CACHE_VARIABLE, "")
    if setting.strip().lower() == "off":
        return None
    if setting.strip():  # absolute, because the process may go to another folder while it uses a file
        return expanded(setting).absolute()
    return Path(platformdirs.user_cache_dir("neuron_explainer"))


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


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _remove_folder(path: Path) -> None:
    """Remove a folder that stands where the cache keeps a file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def _remove_abandoned(folder: Path) -> None:
    """Remove files that a killed process left behind. A running download's file is newer."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
