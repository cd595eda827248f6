"""All of one's own explanations as a table, to a file, and from one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.explanations.merging import checked_entry, identity, rank
from neuron_explainer.components.explanations.own_file import OWN_EXPLANATIONS, own_entries
from neuron_explainer.components.notes.exchange import export_entries, import_entries
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas


_TEXTS = ("subject", "name", "dst", "text")


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
        (*(without_steering(getattr(each, field)) for field in _TEXTS), each.score, without_steering(each.when))
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
    return export_entries(OWN_EXPLANATIONS, path)


def import_explanations(path: str | os.PathLike[str]) -> int:
    """Add the explanations of a file that `ne.export_explanations` wrote; those that are there already stay once.

    Two are the same if subject, component, scalar and text are the same; the one with a score, or the newer, stays.

    Args:
        path: a file that ends in .json or .jsonl.

    Returns:
        How many were new.

    Raises:
        MissingFileError, UnreadableFileError, TooLargeError: it cannot be read.
        MalformedRecordError: it is not such a file, or one of its explanations has no text, no known component or
            scalar, or a time that is not one.
        InvalidRequestError: the name has another ending.
    """
    return import_entries(OWN_EXPLANATIONS, path, checked_entry, identity, rank)
