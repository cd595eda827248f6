"""Texts from any source, one after the other: strings, files, Hugging Face datasets, iterators.

Texts are read when they are needed, one at a time. Each has a name for error messages.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from neuron_explainer.collation.corpus.text_files import (
    Text,
    content_of,
    field_of,
    files_of,
    in_pieces,
    is_file_name,
    texts_of_file,
)
from neuron_explainer.errors import InvalidRequestError

TextsGiven = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | Mapping[str, Any]]
"""A text, a path, or an iterable of texts, paths and records; see `read_texts`."""


def read_texts(texts: object, text_field: str = "text") -> Iterator[Text]:
    """Read the texts of a source in order. Empty texts are left out.

    A text of more than 2^21 characters is read as several, which end at the end of a line, else at a space.

    Args:
        texts: a string (a text, or a file name that ends in .txt, .jsonl or .parquet, the first two perhaps with .gz);
            a `Path` to such a file or to a folder of them (read in the order of their names); a Hugging Face dataset;
            or an iterable of strings, paths, or mappings that have `text_field`.
        text_field: the field of a JSON line, Parquet column or mapping that holds the text.

    Raises:
        InvalidRequestError: `texts` is something else.
        MissingFileError: a file does not exist.
        BadDocumentError: a text cannot be read; raised when its turn comes.

    >>> [text.content for text in read_texts(["one", {"text": "two"}])]
    ['one', 'two']
    """
    if isinstance(texts, (str, os.PathLike)):
        return _in_pieces(_of_item(texts, text_field, "the text"))
    if isinstance(texts, Mapping):
        parts = ", ".join(map(repr, texts))
        raise InvalidRequestError(
            f"`texts` is of type {type(texts).__name__}, not a list of texts. Choose one of its parts: {parts}."
        )
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise InvalidRequestError(
            f"`texts` is of type {type(texts).__name__}. Give a text, a path, a dataset or an iterable of texts."
        )
    return _in_pieces(_of_iterable(texts, text_field))


def _in_pieces(texts: Iterator[Text]) -> Iterator[Text]:
    for text in texts:
        yield from in_pieces(text)


def is_in_memory(texts: object) -> bool:
    """Whether the texts are strings, none of which is a file name."""
    items = [texts] if isinstance(texts, str) else texts
    return isinstance(items, (list, tuple)) and all(isinstance(item, str) and not is_file_name(item) for item in items)


def n_characters(texts: object, text_field: str = "text") -> int | None:
    """About how long the texts are together; None if only reading them would tell. It serves to estimate progress.

    For strings it is the number of characters, for plain files the number of bytes.

    Raises:
        MissingFileError: a file does not exist.
    """
    if isinstance(texts, os.PathLike) or (isinstance(texts, str) and is_file_name(texts)):
        files = files_of(Path(texts))
        if any(file.name.endswith((".gz", ".parquet")) for file in files):
            return None
        return sum(file.stat().st_size for file in files)
    if isinstance(texts, str):
        return len(texts)
    if isinstance(texts, (list, tuple)):
        lengths = [
            len(item.get(text_field) or "") if isinstance(item, Mapping) else n_characters(item, text_field)
            for item in texts
        ]
        return None if any(length is None for length in lengths) else sum(length or 0 for length in lengths)
    return None


def _of_iterable(items: Iterable[object], text_field: str) -> Iterator[Text]:
    for number, item in enumerate(items):
        yield from _of_item(item, text_field, f"text {number}")


def _of_item(item: object, text_field: str, where: str) -> Iterator[Text]:
    if isinstance(item, os.PathLike) or (isinstance(item, str) and is_file_name(item)):
        for file in files_of(Path(item)):
            yield from texts_of_file(file, text_field)
        return
    content = content_of(field_of(item, text_field, where) if isinstance(item, Mapping) else item, where)
    if content:
        yield Text(content, where)
