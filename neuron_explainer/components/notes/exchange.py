"""Entries of a person's own to a file, and from one."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Hashable
from pathlib import Path

import msgspec

from neuron_explainer.components.notes.kept_file import MOST_BYTES, EntryT, KeptFile
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.storage.locations import local_path


def export_entries(file: KeptFile[EntryT], path: str | os.PathLike[str]) -> int:
    """Write all entries to a file, which is replaced as a whole; how many there are.

    Args:
        file: what keeps them.
        path: a file that ends in .json, .jsonl (a line for each) or .csv.

    Raises:
        InvalidRequestError: the name has another ending.
        MalformedRecordError: the file that keeps them is damaged.
        UnsupportedLocationError: `path` is not a local path.
    """
    target = local_path("path", path)
    entries, suffix = file.entries(), _suffix_of(target, (".json", ".jsonl", ".csv"))
    if suffix == ".json":
        content = file.encoded(entries)
    elif suffix == ".jsonl":
        content = b"".join(msgspec.json.encode(each) + b"\n" for each in entries)
    else:
        fields, text = file.entry_type.__struct_fields__, io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(fields)
        writer.writerows([getattr(each, field) for field in fields] for each in entries)
        content = text.getvalue().encode()
    write_bytes_atomically(target, content)
    return len(entries)


def import_entries(file: KeptFile[EntryT], path: str | os.PathLike[str], key: Callable[[EntryT], Hashable]) -> int:
    """Add the entries of a file that `export_entries` wrote, those whose key is not there yet; how many were added.

    Args:
        file: what keeps them.
        path: a file that ends in .json or .jsonl.
        key: what two entries that mean the same have in common.

    Raises:
        MissingFileError, UnreadableFileError, TooLargeError: it cannot be read.
        MalformedRecordError: it is not such a file, or the file that keeps them is damaged.
        InvalidRequestError: the name has another ending.
    """
    source = local_path("path", path)
    suffix = _suffix_of(source, (".json", ".jsonl"))
    content = read_local_bytes(source, MOST_BYTES)
    if suffix == ".jsonl":
        lines = [line for line in content.splitlines() if line.strip()]
        content = b'{"version": 1, "%s": [%s]}' % (file.entries_key.encode(), b",".join(lines))
    found = file.decoded(content, str(source))
    new: list[EntryT] = []

    def added(kept: list[EntryT]) -> list[EntryT]:
        there = set(map(key, kept))
        first_by_key = {key(each): each for each in reversed(found)}
        new[:] = [each for each in reversed(first_by_key.values()) if key(each) not in there]
        return [*kept, *new]

    file.change(added)
    return len(new)


def _suffix_of(path: Path, choices: tuple[str, ...]) -> str:
    if path.suffix.lower() not in choices:
        raise InvalidRequestError(
            f"{path.name} ends in {path.suffix or 'no suffix'}. Choose one of: {', '.join(choices)}."
        )
    return path.suffix.lower()
