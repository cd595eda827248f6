"""A small file of a person's own entries, beside the disk cache.

It is in the cache's folder, where `clear_cache` leaves it. The environment variable NEURON_EXPLAINER_NOTES names
another folder; where the cache is off, it is the user's folder for data. Several processes and threads may change it at
the same time: each change reads and replaces the whole file under a lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import platformdirs

from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, MissingFileError, TooLargeError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.disk_cache import cache_folder
from neuron_explainer.storage.file_locks import try_lock
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.storage.locations import expanded

NOTES_VARIABLE = "NEURON_EXPLAINER_NOTES"
MOST_BYTES = 10 * 2**20
MOST_CHARACTERS = 10_000
"""Of one explanation or note."""
_LOCK_SECONDS = 10.0

EntryT = TypeVar("EntryT", bound=msgspec.Struct)


@dataclass(frozen=True)
class KeptFile(Generic[EntryT]):
    """A file that keeps entries of one type, the oldest first.

    Attributes:
        file_name: its name in the folder.
        entry_type: the type of its entries.
        entries_key: the key of the entries in the file, such as "bookmarks".
        kind: what messages call the file.
        problem: what is wrong with an entry, as part of a sentence; "" if nothing is.
    """

    file_name: str
    entry_type: type[EntryT]
    entries_key: str
    kind: str
    problem: Callable[[EntryT], str]

    @property
    def path(self) -> Path:
        """Where the file is."""
        setting = os.environ.get(NOTES_VARIABLE, "")
        if setting.strip():
            return expanded(setting).absolute() / self.file_name
        folder = cache_folder()
        return (Path(platformdirs.user_data_dir("neuron_explainer")) if folder is None else folder) / self.file_name

    def entries(self) -> list[EntryT]:
        """What is kept; nothing if there is no file.

        Raises:
            MalformedRecordError: the file is damaged.
            UnreadableFileError: the system refuses to read it.
        """
        path = self.path
        try:
            return self.decoded(read_local_bytes(path, MOST_BYTES), str(path))
        except MissingFileError:
            return []
        except TooLargeError as error:
            raise MalformedRecordError(str(error), str(path), self.kind) from None
        except MalformedRecordError as error:
            remedy = "Mend the file, or move it away; it is not overwritten"
            raise MalformedRecordError(f"{error.problem}. {remedy}", str(path), self.kind) from None

    def change(self, change: Callable[[list[EntryT]], Sequence[EntryT]], most_bytes: int = MOST_BYTES) -> None:
        """Change what is kept, as one step.

        Args:
            change: takes what is kept, and gives what is to be kept.
            most_bytes: how large the file may become.

        Raises:
            MalformedRecordError: the file is damaged; it is left as it is.
            InvalidRequestError: the file would be too large, or another process holds it for ten seconds.
        """
        path = self.path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(path):
            content = self.encoded(list(change(self.entries())))
            if len(content) > most_bytes:
                raise InvalidRequestError(
                    f"{path} would have {len(content):,} bytes, over the limit of {most_bytes:,}. Export it, and "
                    "remove some of it."
                )
            write_bytes_atomically(path, content, private=True)

    def encoded(self, entries: Sequence[EntryT]) -> bytes:
        """The bytes of a file of these entries."""
        return msgspec.json.format(msgspec.json.encode({"version": 1, self.entries_key: list(entries)}), indent=1)

    def decoded(self, content: bytes, source: str) -> list[EntryT]:
        """The entries in the bytes of a file.

        Raises:
            MalformedRecordError: they are not such a file.
        """
        try:
            contents = msgspec.json.decode(content, type=self._contents)
        except RecursionError:
            raise MalformedRecordError("it is nested too deeply", source, self.kind) from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise MalformedRecordError(str(error), source, self.kind) from None
        if contents.version != 1:
            said = f"its version is {contents.version}; this library reads version 1"
            raise MalformedRecordError(said, source, self.kind)
        entries: list[EntryT] = getattr(contents, self.entries_key)
        if problem := next(filter(None, map(self.problem, entries)), ""):
            raise MalformedRecordError(problem, source, self.kind)
        return entries

    @cached_property
    def _contents(self) -> Any:
        return msgspec.defstruct("Contents", [("version", int), (self.entries_key, list[self.entry_type])])


def now() -> str:
    """The time, in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Within it, no other process or thread changes the file."""
    with open(path.with_name(f".{path.name}.lock"), "a+b") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not try_lock(file):
            if time.monotonic() > deadline:
                raise InvalidRequestError(f"Another process is changing {path}. Try again when it has ended.")
            time.sleep(0.02)
        yield
