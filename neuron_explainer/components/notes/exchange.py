"""Entries of a person's own to a file, and from one."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from neuron_explainer.components.notes.csv_files import csv_bytes
from neuron_explainer.components.notes.kept_file import MOST_BYTES, EntryT, KeptFile
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError
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
        fields = file.entry_type.__struct_fields__
        content = csv_bytes(fields, ([getattr(each, field) for field in fields] for each in entries))
    write_bytes_atomically(target, content)
    return len(entries)


def import_entries(
    file: KeptFile[EntryT],
    path: str | os.PathLike[str],
    checked: Callable[[EntryT, int, str], EntryT],
    key: Callable[[EntryT], Hashable],
    rank: Callable[[EntryT], tuple[Any, ...]],
) -> int:
    """Add the entries of a file that `export_entries` wrote; how many are new.

    Of two that mean the same, the one of the higher rank stays.

    Args:
        file: what keeps them.
        path: a file that ends in .json or .jsonl.
        checked: takes an entry, its number and the file, and gives the entry in its usual spelling.
        key: what two entries that mean the same have in common.
        rank: which of two that mean the same is the better.

    Raises:
        MissingFileError, UnreadableFileError, TooLargeError: it cannot be read.
        MalformedRecordError: it is not such a file, or the file that keeps them is damaged.
        InvalidRequestError: the name has another ending.
    """
    source = local_path("path", path)
    suffix = _suffix_of(source, (".json", ".jsonl"))
    content = read_local_bytes(source, MOST_BYTES).removeprefix(BOM_UTF8)
    found = _of_lines(file, content, str(source)) if suffix == ".jsonl" else file.decoded(content, str(source))
    entries = [checked(each, number, str(source)) for number, each in enumerate(found, 1)]
    n_new = 0

    def added(kept: list[EntryT]) -> list[EntryT]:
        nonlocal n_new
        result = _best(kept, key, rank)
        n_before = len(result)
        merged = _best([*result, *entries], key, rank)
        n_new = len(merged) - n_before
        return merged

    file.change(added)
    return n_new


def _best(
    entries: Iterable[EntryT], key: Callable[[EntryT], Hashable], rank: Callable[[EntryT], tuple[Any, ...]]
) -> list[EntryT]:
    """Each entry once: the first of those of the highest rank, in the place of the first that means the same."""
    best: dict[Hashable, EntryT] = {}
    for each in entries:
        before = best.get(key(each))
        if before is None or rank(each) > rank(before):
            best[key(each)] = each
    return list(best.values())


def _of_lines(file: KeptFile[EntryT], content: bytes, source: str) -> list[EntryT]:
    """The entries of a file with one on each line."""
    found: list[EntryT] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found += file.decoded(b'{"version": 1, "%s": [%s]}' % (file.entries_key.encode(), line), source)
        except MalformedRecordError as error:
            raise MalformedRecordError(f"line {number}: {error.problem}", source, error.kind) from None
    return found


def _suffix_of(path: Path, choices: tuple[str, ...]) -> str:
    if path.suffix.lower() not in choices:
        raise InvalidRequestError(
            f"{path.name} ends in {path.suffix or 'no suffix'}. Choose one of: {', '.join(choices)}."
        )
    return path.suffix.lower()
