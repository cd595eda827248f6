"""How large the disk cache may become, and who uses which of its files.

Each process that was given a file's path writes the file's name into a list of its own, and keeps a lock on the list as
long as it lives. So whoever makes room sees which files are in use, and whose lists are left over from processes that
have ended. Where the system has no such locks, nothing is removed to make room.
"""

import contextlib
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.storage.file_locks import ARE_AVAILABLE, try_lock

SIZE_VARIABLE = "NEURON_EXPLAINER_CACHE_BYTES"
DEFAULT_BYTES = 20 * 2**30
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) *(?:([kmgt])?(i?)b?|bytes)", re.IGNORECASE)
_LONGEST_WAIT = 5.0
_MOST_LISTED_BYTES = 16 * 2**20


def bytes_of(size: str, name: str = "size") -> int:
    """A size as people write it, in bytes.

    Args:
        size: a number of bytes, or one with a unit: kB, MB, GB, TB, or KiB, MiB, GiB, TiB. "20G" is "20GB".
        name: what an error calls it.

    Raises:
        InvalidRequestError: it is not a size.

    >>> bytes_of("500 MB"), bytes_of("20GiB"), bytes_of("1000")
    (500000000, 21474836480, 1000)
    """
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise InvalidRequestError(f"{name} is {shown(size)}. Give a size such as 500MB, 20GiB or a number of bytes.")
    number, letter, binary = found.groups(default="")
    return int(float(number) * (1024 if binary else 1000) ** ("kmgt".index(letter.lower()) + 1 if letter else 0))


def cache_limit() -> int:
    """How many bytes the disk cache may take: NEURON_EXPLAINER_CACHE_BYTES, or 20 GiB.

    Raises:
        InvalidRequestError: the variable is not a size.
    """
    setting = os.environ.get(SIZE_VARIABLE, "").strip()
    return bytes_of(setting, SIZE_VARIABLE) if setting else DEFAULT_BYTES


class FilesInUse:
    """The files of a cache that are in use, by the names of their bodies; of this process and of others.

    Args:
        root: the cache's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "in_use"
        self._names: set[str] = set()
        self._list: tuple[Path, int] | None = None  # its path, and a descriptor that stays open and locked
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Say that this process uses a file, as long as it lives. What cannot be written is not said."""
        with self._lock, contextlib.suppress(OSError):
            if name in self._names and self._list is not None and self._list[0].exists():
                return
            with self.alone(shared=True):
                self._names.add(name)
                if self._list is None or not self._list[0].exists():
                    self._begin_list()
                else:
                    os.write(self._list[1], f"{name}\n".encode())

    def _begin_list(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{os.getpid()}-{uuid.uuid4().hex}"
        descriptor = private_opener(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        _locked(descriptor, shared=True)
        os.write(descriptor, "".join(f"{each}\n" for each in self._names).encode())
        self._list = path, descriptor

    def all(self) -> set[str]:
        """The files that any living process uses. Lists of processes that have ended are removed."""
        found = set(self._names)
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError), path.open("rb") as file:
                    if self._is_left_over(file, path):
                        path.unlink(missing_ok=True)
                    else:
                        found.update(file.read(_MOST_LISTED_BYTES).decode(errors="replace").split())
        return found

    def _is_left_over(self, file: BinaryIO, path: Path) -> bool:
        is_own = self._list is not None and self._list[0] == path
        return ARE_AVAILABLE and not is_own and try_lock(file)

    @contextlib.contextmanager
    def alone(self, *, shared: bool = False) -> Iterator[bool]:
        """Context manager that yields whether this process has the cache's lock, after some seconds at most."""
        if not ARE_AVAILABLE:
            yield False
            return
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._root / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            yield _locked(descriptor, shared)
        finally:
            os.close(descriptor)  # releases the lock


def private_opener(path: str, flags: int) -> int:
    """An opener whose new files only their user may read."""
    return os.open(path, flags, 0o600)


def _locked(descriptor: int, shared: bool) -> bool:
    deadline = time.monotonic() + _LONGEST_WAIT
    while not try_lock(descriptor, shared=shared):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
