"""Texts from any source, one after the other: strings, files, Hugging Face datasets, iterators.

Texts are read when they are needed, one at a time. Each has a name for error messages.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from neuron_explainer.collation.corpus.file_names import files_of, is_file_name, is_meant_as_path
from neuron_explainer.collation.corpus.text_files import (
    ChatWriter,
    Text,
    content_of,
    field_of,
    in_pieces,
    texts_of_file,
)
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.chats.messages import Chat, is_chat, is_text_or_chat
from neuron_explainer.storage.local import opened_file

TextsGiven = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | Mapping[str, Any] | Chat]
"""A text, a path, a list of messages, or an iterable of texts, paths, records and such lists; see `read_texts`."""


def read_texts(texts: object, text_field: str = "text", chat_writer: ChatWriter | None = None) -> Iterator[Text]:
    """Read the texts of a source in order. Empty texts are left out.

    A text of more than 2^21 characters is read as several, which end at the end of a line, else at a space.

    Args:
        texts: a text; a path of a file that ends in .txt, .jsonl or .parquet (the first two perhaps with .gz), or of a
            folder of them (read in the order of their names); a Hugging Face dataset; or an iterable of texts, paths,
            or mappings that have `text_field`. A string is a path if it is one line that ends in such a suffix; and, if
            it stands alone, also if it is one word that begins with ./, ../, ~/ or a folder of the system, or ends in a
            suffix of other files. A mapping, {"text": "corpus.txt"}, is a text always.
        text_field: the field of a JSON line, Parquet column or mapping that holds the text.
        chat_writer: makes the text of a list of messages, which is taken wherever a text is; None: messages are
            refused. Mappings that have a `role`, and not `text_field`, are the messages of one chat.

    Raises:
        InvalidRequestError: `texts` is something else.
        MissingFileError: a file does not exist; the message names the nearest that do.
        UnreadableFileError: a path leads to a pipe or a device, or the system refuses it.
        BadDocumentError: a text cannot be read; raised when its turn comes.

    >>> [text.content for text in read_texts(["one", {"text": "two"}])]
    ['one', 'two']
    """
    if isinstance(texts, str) and is_meant_as_path(texts):
        return _in_pieces(_of_path(texts, text_field, chat_writer))
    if isinstance(texts, (str, os.PathLike)) or is_one_chat(texts, text_field):
        return _in_pieces(_of_item(texts, text_field, "the text", chat_writer))
    if isinstance(texts, Mapping):
        parts = ", ".join(map(repr, texts))
        raise InvalidRequestError(
            f"`texts` is of type {type(texts).__name__}, not a list of texts. Choose one of its parts: {parts}."
        )
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise InvalidRequestError(
            f"`texts` is of type {type(texts).__name__}. Give a text, a path, a dataset or an iterable of texts."
        )
    return _in_pieces(_of_iterable(texts, text_field, chat_writer))


def _in_pieces(texts: Iterator[Text]) -> Iterator[Text]:
    for text in texts:
        yield from in_pieces(text)


def is_one_chat(texts: object, text_field: str = "text") -> TypeGuard[Chat]:
    """Whether what was given for texts is a list of messages, rather than one of records."""
    return is_chat(texts) and all(
        isinstance(item, Mapping) and "role" in item and text_field not in item for item in texts
    )


def is_in_memory(texts: object) -> bool:
    """Whether the texts are strings, none of which is a file name, or chats."""
    if isinstance(texts, str):
        return not is_meant_as_path(texts)
    if is_one_chat(texts):
        return True
    return isinstance(texts, (list, tuple)) and all(
        is_text_or_chat(item) and not (isinstance(item, str) and is_file_name(item)) for item in texts
    )


def n_characters(texts: object, text_field: str = "text") -> int | None:
    """About how long the texts are together; None if only reading them would tell. It serves to estimate progress.

    For strings it is the number of characters, for plain files the number of bytes.

    Raises:
        MissingFileError, UnreadableFileError, InvalidRequestError: as `read_texts`, about paths.
    """
    if isinstance(texts, str) and is_meant_as_path(texts):
        return _size_of(texts)
    return _n_characters(texts, text_field)


def _n_characters(texts: object, text_field: str) -> int | None:
    if isinstance(texts, os.PathLike) or (isinstance(texts, str) and is_file_name(texts)):
        return _size_of(texts)
    if isinstance(texts, str):
        return len(texts)
    if isinstance(texts, (list, tuple)):
        field = "content" if is_one_chat(texts, text_field) else text_field
        lengths = [
            _n_characters(item, "content")
            if is_chat(item)
            else len(str(item.get(field) or ""))
            if isinstance(item, Mapping)
            else _n_characters(item, field)
            for item in texts
        ]
        return None if any(length is None for length in lengths) else sum(length or 0 for length in lengths)
    return None


def _size_of(path: str | os.PathLike[str]) -> int | None:
    """How many bytes a path's files have; None if one is compressed. Each is opened, to be refused early."""
    sizes: list[int | None] = []
    for file in files_of(path):
        with opened_file(file) as opened:
            is_compressed = file.name.lower().endswith((".gz", ".parquet"))
            sizes.append(None if is_compressed else os.fstat(opened.fileno()).st_size)
    return None if None in sizes else sum(size or 0 for size in sizes)


def _of_iterable(items: Iterable[object], text_field: str, chat_writer: ChatWriter | None) -> Iterator[Text]:
    for number, item in enumerate(items):
        yield from _of_item(item, text_field, f"text {number}", chat_writer)


def _of_path(path: str | os.PathLike[str], text_field: str, chat_writer: ChatWriter | None) -> Iterator[Text]:
    for file in files_of(path):
        yield from texts_of_file(file, text_field, chat_writer)


def _of_item(item: object, text_field: str, where: str, chat_writer: ChatWriter | None) -> Iterator[Text]:
    if isinstance(item, os.PathLike) or (isinstance(item, str) and is_file_name(item)):
        yield from _of_path(item, text_field, chat_writer)
        return
    value = field_of(item, text_field, where) if isinstance(item, Mapping) else item
    content = content_of(value, where, chat_writer)
    if content:
        yield Text(content, where)
