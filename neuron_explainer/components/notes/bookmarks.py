"""Bookmarks of components, each with a note, in the small file `bookmarks.json` beside the disk cache."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from neuron_explainer.activation_server.dataset_paths import dataset_subject
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.notes.checks import checked_component
from neuron_explainer.components.notes.exchange import export_entries, import_entries
from neuron_explainer.components.notes.kept_file import MOST_CHARACTERS, KeptFile, now
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.checks import checked_text
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

MOST_NAME_CHARACTERS = 2000
"""Of a subject, a name or a type."""


class Bookmark(msgspec.Struct, frozen=True):
    """One component that a person marked.

    Attributes:
        subject: the dataset or model of the component.
        name: the component, such as L5N131.
        dst: the derived scalar that is its activation.
        note: what the person wrote about it; may be empty.
        when: the time at which it was marked or its note changed, in UTC, as ISO 8601.
    """

    subject: str
    name: str
    dst: str
    note: str = ""
    when: str = ""

    @property
    def component(self) -> tuple[str, str, str]:
        """What is marked: subject, name and dst."""
        return self.subject, self.name, self.dst


def _problem(bookmark: Bookmark) -> str:
    if len(bookmark.note) > MOST_CHARACTERS:
        return f"a note has more than {MOST_CHARACTERS:,} characters"
    if any(len(text) > MOST_NAME_CHARACTERS for text in (*bookmark.component, bookmark.when)):
        return f"a name has more than {MOST_NAME_CHARACTERS:,} characters"
    return ""


BOOKMARKS = KeptFile("bookmarks.json", Bookmark, "bookmarks", "file of bookmarks", _problem)


def bookmark_subject(dataset: str) -> str:
    """What bookmarks call a dataset or model: its name, its whole folder, or its address without what may be secret."""
    try:
        return dataset_subject(dataset)
    except ValueError:  # a model's name with a colon
        return dataset


def bookmarks_of(subject: str) -> list[Bookmark]:
    """The bookmarks of a dataset or model, the oldest first. The file is read again only if it has changed.

    Raises:
        MalformedRecordError: the file is damaged.
        UnreadableFileError: the system refuses to read it.
    """
    path = BOOKMARKS.path
    try:
        status = path.stat()
    except OSError:
        return [each for each in BOOKMARKS.entries() if each.subject == subject]
    held = _all_bookmarks(str(path), status.st_ino, status.st_mtime_ns, status.st_size)
    return [each for each in held if each.subject == subject]


@lru_cache(maxsize=1)
def _all_bookmarks(path: str, inode: int, changed: int, size: int) -> tuple[Bookmark, ...]:
    return tuple(BOOKMARKS.entries())


def add_bookmark(subject: str, name: str, dst: str, note: str) -> None:
    """Mark a component; one that is marked already gets the new note.

    Raises:
        InvalidRequestError: the note is not a text or too long, or the file would be too large.
        MalformedRecordError: the file is damaged.
    """
    checked_text("note", note)
    if len(note) > MOST_CHARACTERS:
        raise InvalidRequestError(f"The note has {len(note):,} characters. Write at most {MOST_CHARACTERS:,} of them.")
    new = Bookmark(subject, name, dst, note, now())

    def changed(kept: list[Bookmark]) -> list[Bookmark]:
        is_new = all(each.component != new.component for each in kept)
        return [*(new if each.component == new.component else each for each in kept), *([new] if is_new else [])]

    BOOKMARKS.change(changed)


def drop_bookmark(subject: str, name: str, dst: str) -> None:
    """Take a component's mark away; nothing happens if it has none.

    Raises:
        MalformedRecordError: the file is damaged.
    """
    BOOKMARKS.change(lambda kept: [each for each in kept if each.component != (subject, name, dst)])


def bookmarks() -> pandas.DataFrame:
    """All bookmarks that pickers and viewers made: subject (dataset or model), name, dst, note, when (UTC).

    They are in a small file beside the disk cache, which `ne.clear_cache` leaves alone; `ne.export_bookmarks` writes
    them elsewhere. The environment variable NEURON_EXPLAINER_NOTES names another folder for the file.

    Raises:
        MalformedRecordError: the file is damaged.

    >>> import neuron_explainer as ne
    >>> ne.bookmarks().columns.tolist()
    ['subject', 'name', 'dst', 'note', 'when']
    """
    rows = [
        [without_steering(getattr(each, field)) for field in Bookmark.__struct_fields__] for each in BOOKMARKS.entries()
    ]
    return TokenTable(rows, columns=list(Bookmark.__struct_fields__))


def export_bookmarks(path: str | os.PathLike[str]) -> int:
    """Write all bookmarks to a file, which is replaced as a whole.

    Args:
        path: a file that ends in .json, .jsonl (a line for each) or .csv.

    Returns:
        How many were written.

    Raises:
        InvalidRequestError: the name has another ending.
        MalformedRecordError: the file that keeps them is damaged.
        UnsupportedLocationError: `path` is not a local path.

    An example: `ne.export_bookmarks("bookmarks.jsonl")`
    """
    return export_entries(BOOKMARKS, path)


def import_bookmarks(path: str | os.PathLike[str]) -> int:
    """Add the bookmarks of a file that `ne.export_bookmarks` wrote; a component that is marked already keeps its note.

    Args:
        path: a file that ends in .json or .jsonl.

    Returns:
        How many were added.

    Raises:
        MissingFileError, UnreadableFileError, TooLargeError: it cannot be read.
        MalformedRecordError: it is not such a file, or one of its bookmarks has no known component or scalar, or a
            time that is not one.
        InvalidRequestError: the name has another ending.

    An example: `ne.import_bookmarks("bookmarks.jsonl")`
    """
    return import_entries(BOOKMARKS, path, _checked, lambda each: each.component, lambda _: ())


def _checked(bookmark: Bookmark, number: int, source: str) -> Bookmark:
    return checked_component(bookmark, f"bookmark {number}", source, BOOKMARKS.kind)
