"""One's own explanations, in a small file beside the disk cache.

The file is `own_explanations.json` in the cache's folder, where `clear_cache` leaves it. The environment variable
NEURON_EXPLAINER_NOTES names another folder; where the cache is off, it is the user's folder for data. Several processes
and threads may change it at the same time: each change reads and replaces the whole file under a lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import platformdirs

from neuron_explainer.errors import (
    InvalidRequestError,
    MalformedRecordError,
    MissingFileError,
    TooLargeError,
)
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.disk_cache import cache_folder
from neuron_explainer.storage.file_locks import try_lock
from neuron_explainer.storage.local import is_local_folder, read_local_bytes
from neuron_explainer.storage.locations import expanded

NOTES_VARIABLE = "NEURON_EXPLAINER_NOTES"
FILE_NAME = "own_explanations.json"
MOST_BYTES = 10 * 2**20
MOST_CHARACTERS = 10_000
"""Of one explanation."""
_KIND = "file of own explanations"
_LOCK_SECONDS = 10.0


class OwnExplanation(msgspec.Struct, frozen=True):
    """One explanation that a person wrote.

    Attributes:
        subject: the dataset or model of the component.
        name: the component, such as L5N131.
        dst: the derived scalar that is its activation.
        text: the explanation.
        score: how well it explains, by whatever measure its author used; None if it was not scored.
        when: the time at which it was written, in UTC, as ISO 8601.
    """

    subject: str
    name: str
    dst: str
    text: str
    score: float | None = None
    when: str = ""


class _Contents(msgspec.Struct, frozen=True):
    version: int
    explanations: list[OwnExplanation]


def notes_file() -> Path:
    """Where one's own explanations are kept."""
    setting = os.environ.get(NOTES_VARIABLE, "")
    if setting.strip():
        return expanded(setting).absolute() / FILE_NAME
    folder = cache_folder()
    return (Path(platformdirs.user_data_dir("neuron_explainer")) if folder is None else folder) / FILE_NAME


def own_entries(subject: str | None = None, name: str | None = None, dst: str | None = None) -> list[OwnExplanation]:
    """The explanations kept, the oldest first: all, or those of a subject, a component and a scalar.

    Raises:
        MalformedRecordError: the file is damaged.
        UnreadableFileError: the system refuses to read it.
    """
    wanted = {"subject": subject, "name": name, "dst": dst}
    return [
        each
        for each in _read(notes_file())
        if all(value is None or getattr(each, field) == value for field, value in wanted.items())
    ]


def change_entries(change: Callable[[list[OwnExplanation]], Sequence[OwnExplanation]]) -> None:
    """Change what is kept, as one step.

    Args:
        change: takes what is kept, and gives what is to be kept.

    Raises:
        MalformedRecordError: the file is damaged; it is left as it is.
        InvalidRequestError: the file would be larger than MOST_BYTES, cannot be written where it belongs, or another
            process holds it for ten seconds.
    """
    path = notes_file()
    with _locked(path):
        contents = _Contents(1, list(change(_read(path))))
        content = msgspec.json.format(msgspec.json.encode(contents), indent=1)
        if len(content) > MOST_BYTES:
            raise InvalidRequestError(
                f"{path} would have {len(content):,} bytes, over the limit of {MOST_BYTES:,}. Export it, and remove "
                "some of it."
            )
        try:
            write_bytes_atomically(path, content, private=True)
        except OSError as error:
            raise _cannot_write(path, error) from None


def new_entry(subject: str, name: str, dst: str, text: str, score: float | None) -> OwnExplanation:
    """An explanation that is written now.

    Raises:
        InvalidRequestError: the text is empty or too long.
    """
    if not text.strip():
        raise InvalidRequestError("The explanation is empty. Write what the component does.")
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"The explanation has {len(text):,} characters. Write at most {MOST_CHARACTERS:,} of them."
        )
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return OwnExplanation(subject, name, dst, text, score, when)


def entries_of_file(content: bytes, source: str) -> list[OwnExplanation]:
    """The explanations in the bytes of a file.

    Raises:
        MalformedRecordError: they are not such a file.
    """
    try:
        contents = msgspec.json.decode(content, type=_Contents)
    except RecursionError:
        raise MalformedRecordError("it is nested too deeply", source, _KIND) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedRecordError(str(error), source, _KIND) from None
    if contents.version != 1:
        raise MalformedRecordError(f"its version is {contents.version}; this library reads version 1", source, _KIND)
    if any(len(each.text) > MOST_CHARACTERS for each in contents.explanations):
        raise MalformedRecordError(f"an explanation has more than {MOST_CHARACTERS:,} characters", source, _KIND)
    return contents.explanations


def _read(path: Path) -> list[OwnExplanation]:
    try:
        return entries_of_file(read_local_bytes(path, MOST_BYTES), str(path))
    except MissingFileError:
        if is_local_folder(path):
            raise MalformedRecordError("it is a folder. Move it away", str(path), _KIND) from None
        return []
    except TooLargeError:
        raise MalformedRecordError(
            f"it has more than {MOST_BYTES:,} bytes. Move it away, and import parts of it", str(path), _KIND
        ) from None
    except MalformedRecordError as error:
        remedy = "Mend the file, or move it away; it is not overwritten"
        raise MalformedRecordError(f"{error.problem}. {remedy}", str(path), _KIND) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Within it, no other process or thread changes the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = open(path.with_name(f".{path.name}.lock"), "a+b")  # noqa: SIM115 (closed by the `with` below)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from None
    with opened as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not try_lock(file):
            if time.monotonic() > deadline:
                raise InvalidRequestError(f"Another process is changing {path}. Try again when it has ended.")
            time.sleep(0.02)
        yield


def _cannot_write(path: Path, error: Exception) -> InvalidRequestError:
    reason = getattr(error, "strerror", None) or str(error)
    return InvalidRequestError(
        f"{path} cannot be written: {reason}. Set the environment variable {NOTES_VARIABLE} to a folder for your own "
        "explanations."
    )
