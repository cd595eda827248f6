"""All of one's own explanations as a table, to a file, and from one."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.explanations.own_file import (
    MOST_BYTES,
    OwnExplanation,
    change_entries,
    entries_of_file,
    own_entries,
)
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.storage.locations import local_path
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

_FIELDS = ("subject", "name", "dst", "text", "score", "when")


def own_explanations() -> pandas.DataFrame:
    """All explanations of one's own: subject (dataset or model), name, dst, explanation, score, when (UTC).

    They are in a small file beside the disk cache, which `ne.clear_cache` leaves alone; `ne.export_explanations` writes
    them elsewhere. The environment variable NEURON_EXPLAINER_NOTES names another folder for the file.

    Raises:
        MalformedRecordError: the file is damaged.

    >>> import neuron_explainer as ne
    >>> ne.own_explanations().columns.tolist()
    ['subject', 'name', 'dst', 'explanation', 'score', 'when']
    """
    rows = [
        (each.subject, each.name, each.dst, without_steering(each.text), each.score, each.when)
        for each in own_entries()
    ]
    return TokenTable(rows, columns=["subject", "name", "dst", "explanation", "score", "when"])


def export_explanations(path: str | os.PathLike[str]) -> int:
    """Write all explanations of one's own to a file, which is replaced as a whole.

    Args:
        path: a file that ends in .json, .jsonl (a line for each) or .csv.

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
        writer.writerows([getattr(each, field) for field in _FIELDS] for each in entries)
        content = text.getvalue().encode()
    write_bytes_atomically(target, content)
    return len(entries)


def import_explanations(path: str | os.PathLike[str]) -> int:
    """Add the explanations of a file that `ne.export_explanations` wrote; those that are there already stay once.

    Args:
        path: a file that ends in .json or .jsonl.

    Returns:
        How many were new.

    Raises:
        MissingFileError, UnreadableFileError, TooLargeError: it cannot be read.
        MalformedRecordError: it is not such a file.
        InvalidRequestError: the name has another ending.
    """
    source = local_path("path", path)
    suffix = _suffix_of(source, (".json", ".jsonl"))
    content = read_local_bytes(source, MOST_BYTES)
    if suffix == ".jsonl":
        lines = [line for line in content.splitlines() if line.strip()]
        content = b'{"version": 1, "explanations": [' + b",".join(lines) + b"]}"
    found = entries_of_file(content, str(source))
    new: list[OwnExplanation] = []

    def added(kept: list[OwnExplanation]) -> list[OwnExplanation]:
        new[:] = [each for each in dict.fromkeys(found) if each not in kept]
        return [*kept, *new]

    change_entries(added)
    return len(new)


def _suffix_of(path: Path, choices: tuple[str, ...]) -> str:
    if path.suffix.lower() not in choices:
        raise InvalidRequestError(
            f"{path.name} ends in {path.suffix or 'no suffix'}. Choose one of: {', '.join(choices)}."
        )
    return path.suffix.lower()
