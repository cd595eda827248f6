"""All of one's own explanations as a table, to a file, and from one."""

from __future__ import annotations

import csv
import io
import os
from codecs import BOM_UTF8
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.explanations.merging import checked_entry, merged_entries
from neuron_explainer.components.explanations.own_file import (
    MOST_BYTES,
    OwnExplanation,
    change_entries,
    entries_of_file,
    own_entries,
)
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.storage.locations import local_path
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

_FIELDS = ("subject", "name", "dst", "text", "score", "when")


def own_explanations() -> pandas.DataFrame:
    """All explanations of one's own: subject (dataset or model), name, dst, explanation, score, when (UTC).

    The subject is the name of a registered dataset or of a model, an address without credentials, or the whole path of
    a local folder. Control characters become escapes.

    They are in a small file beside the disk cache, which `ne.clear_cache` leaves alone; `ne.export_explanations` writes
    them elsewhere. The environment variable NEURON_EXPLAINER_NOTES names another folder for the file.

    Raises:
        MalformedRecordError: the file is damaged.

    >>> import neuron_explainer as ne
    >>> ne.own_explanations().columns.tolist()
    ['subject', 'name', 'dst', 'explanation', 'score', 'when']
    """
    rows = [
        (*(without_steering(getattr(each, field)) for field in _FIELDS[:4]), each.score, without_steering(each.when))
        for each in own_entries()
    ]
    return TokenTable(rows, columns=["subject", "name", "dst", "explanation", "score", "when"])


def export_explanations(path: str | os.PathLike[str]) -> int:
    """Write all explanations of one's own to a file, which is replaced as a whole.

    Args:
        path: a file that ends in .json, .jsonl (a line for each) or .csv. In .csv, control characters become escapes,
            and a text that a spreadsheet would take for a formula (it begins with =, +, -, @, a tab or a line break)
            has an apostrophe before it; the other two keep every text as it is.

    Returns:
        How many were written.

    Raises:
        InvalidRequestError: the name has another ending.
        MalformedRecordError: the file that keeps them is damaged.
        UnsupportedLocationError: `path` is not a local path.

    >>> import neuron_explainer as ne
    >>> number = ne.export_explanations("explanations.jsonl")
    """
    target = local_path("path", path)
    entries, suffix = own_entries(), _suffix_of(target, (".json", ".jsonl", ".csv"))
    if suffix == ".json":
        content = msgspec.json.format(msgspec.json.encode({"version": 1, "explanations": entries}), indent=1)
    elif suffix == ".jsonl":
        content = b"".join(msgspec.json.encode(each) + b"\n" for each in entries)
    else:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(_FIELDS)
        writer.writerows([_cell(getattr(each, field)) for field in _FIELDS] for each in entries)
        content = text.getvalue().encode()
    write_bytes_atomically(target, content)
    return len(entries)


def import_explanations(path: str | os.PathLike[str]) -> int:
    """Add the explanations of a file that `ne.export_explanations` wrote; those that are there already stay once.

    Explanations with the same subject, component, scalar and text are one: the one with a score is kept; if both have
    one, or neither, the newer.

    Args:
        path: a file that ends in .json or .jsonl.

    Returns:
        How many were new.

    Raises:
        MissingFileError, UnreadableFileError, TooLargeError: it cannot be read.
        MalformedRecordError: it is not such a file, or one of its explanations has no text, no known component or
            scalar, or a time that is none.
        InvalidRequestError: the name has another ending.
    """
    source = local_path("path", path)
    suffix = _suffix_of(source, (".json", ".jsonl"))
    content = read_local_bytes(source, MOST_BYTES).removeprefix(BOM_UTF8)
    found = (_of_lines if suffix == ".jsonl" else entries_of_file)(content, str(source))
    checked = [checked_entry(each, number, str(source)) for number, each in enumerate(found, 1)]
    n_new = 0

    def added(kept: list[OwnExplanation]) -> list[OwnExplanation]:
        nonlocal n_new
        entries, n_new = merged_entries(kept, checked)
        return entries

    change_entries(added)
    return n_new


def _of_lines(content: bytes, source: str) -> list[OwnExplanation]:
    """The explanations of a file with one on each line."""
    found: list[OwnExplanation] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found += entries_of_file(b'{"version": 1, "explanations": [' + line + b"]}", source)
        except MalformedRecordError as error:
            raise MalformedRecordError(f"line {number}: {error.problem}", source, error.kind) from None
    return found


def _cell(value: object) -> object:
    """A value as a cell of a table that other programs open."""
    if not isinstance(value, str):
        return value
    text = without_steering(value)
    return f"'{text}" if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _suffix_of(path: Path, choices: tuple[str, ...]) -> str:
    if path.suffix.lower() not in choices:
        raise InvalidRequestError(
            f"{path.name} ends in {path.suffix or 'no suffix'}. Choose one of: {', '.join(choices)}."
        )
    return path.suffix.lower()
