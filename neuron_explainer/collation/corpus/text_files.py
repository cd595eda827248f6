"""Texts from files: plain text, JSON lines and Parquet."""

import gzip
import io
import json
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuron_explainer.errors import (
    BadDocumentError,
    ChatTemplateError,
    InvalidRequestError,
    MissingPackageError,
    NeuronExplainerError,
    PromptError,
)
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.models.chats.messages import Chat, is_chat
from neuron_explainer.storage.local import opened_file

LONGEST_TEXT = 1 << 20
"""A plain text file with more characters than this is read as several texts; each ends at the end of a line."""

_LONGEST_LINE = 1 << 20
"""A line of a plain text file with more bytes than this is read in pieces of so many, each a text of its own."""

_LONGEST_RECORD = 1 << 26
"""How many bytes a JSON line has at most."""


ChatWriter = Callable[[Chat], ChatText]
"""Makes the text of a chat, through a model's template."""


@dataclass(frozen=True)
class Text:
    """One text, and where it comes from."""

    content: str
    where: str


def texts_of_file(path: Path, text_field: str, chat_writer: ChatWriter | None = None) -> Iterator[Text]:
    """The texts of one file in order; empty ones are left out.

    Args:
        path: the file.
        text_field: the field or column that holds the text, or a list of messages.
        chat_writer: makes texts of messages; None: messages are refused.

    Raises:
        BadDocumentError: a text cannot be read; raised when its turn comes.
        MissingFileError, UnreadableFileError: there is no such file, or it is a pipe or a device, or the system refuses
            to read it.
        InvalidRequestError: a Parquet file has no column `text_field`.
        MissingPackageError: pyarrow, which reads Parquet files, is not installed.
    """
    name = path.name.lower()
    with opened_file(path) as file:
        if name.endswith(".parquet"):
            yield from _of_parquet(file, path, text_field, chat_writer)
            return
        content = gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file
        try:
            if content.peek(len(BOM_UTF8))[: len(BOM_UTF8)] == BOM_UTF8:  # a mark of the encoding, no part of the text
                content.read(len(BOM_UTF8))
            is_lines = name.removesuffix(".gz").endswith(".jsonl")
            yield from _of_lines(content, path, text_field, chat_writer) if is_lines else _of_plain(content, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadDocumentError(str(path), f"the gzip file is damaged ({error})") from None


def in_pieces(text: Text) -> Iterator[Text]:
    """A text, in pieces of about LONGEST_TEXT characters if it is longer than two such pieces.

    A window of tokens never needs all of it. A piece ends at the end of a line, else at a space, else where it is full.
    """
    content, start, number = text.content, 0, 0
    while len(content) - start > 2 * LONGEST_TEXT:
        full = start + LONGEST_TEXT
        line_end, space = content.rfind("\n", start, full) + 1, content.rfind(" ", start, full)
        end = line_end or (space if space > start else full)
        yield Text(content[start:end], f"{text.where}, piece {number}")
        start, number = end, number + 1
    if not number and content:
        yield text
    elif start < len(content):
        yield Text(content[start:], f"{text.where}, piece {number}")


def content_of(content: object, where: str, chat_writer: ChatWriter | None = None) -> str:
    """`content`, if it is a string that can be encoded; the text of a list of messages.

    Raises:
        BadDocumentError: it is neither, or the messages are malformed.
        ChatTemplateError: the model has no chat template, or it cannot write the messages.
    """
    if chat_writer is not None and is_chat(content):
        try:
            content = chat_writer(content)
        except PromptError as error:
            raise BadDocumentError(where, str(error).removesuffix(".")) from None
        except ChatTemplateError as error:
            raise ChatTemplateError(f"{where}: {error}", line=error.line) from error
    if not isinstance(content, str):
        raise BadDocumentError(where, f"it is of type {type(content).__name__}, not a string")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise BadDocumentError(where, f"it has half a surrogate pair at character {error.start}") from None
    return content


def field_of(item: Mapping[Any, Any], text_field: str, where: str) -> object:
    """A record's text field.

    Raises:
        BadDocumentError: it has no such field.
    """
    if text_field not in item:
        raise BadDocumentError(where, f"it has no field {text_field!r}; its fields: {', '.join(map(repr, item))}")
    return item[text_field]


def _of_plain(file: io.BufferedReader | gzip.GzipFile, path: Path) -> Iterator[Text]:
    lines: list[str] = []
    length = 0
    first_line = number = 1
    cut = b""  # the first bytes of a character that a piece of a line ends in
    while line := file.readline(_LONGEST_LINE):
        line, cut = _whole_characters(cut + line)
        lines.append(_decoded(line, f"{path}, line {number}"))
        length += len(lines[-1])
        number += line.endswith(b"\n")
        if length >= LONGEST_TEXT:
            yield Text("".join(lines), f"{path}, from line {first_line}")
            lines, length, first_line = [], 0, number
    if cut:
        lines.append(_decoded(cut, f"{path}, line {number}"))
    if length:
        yield Text("".join(lines), f"{path}, from line {first_line}")


def _whole_characters(line: bytes) -> tuple[bytes, bytes]:
    """A full piece of a line without the bytes of the character that it ends in, if that goes on; and those bytes."""
    if len(line) < _LONGEST_LINE:
        return line, b""
    n_bytes = len(line)
    while n_bytes > len(line) - 3 and line[n_bytes - 1] & 0xC0 == 0x80:  # bytes that continue a character
        n_bytes -= 1
    return (line[: n_bytes - 1], line[n_bytes - 1 :]) if line[n_bytes - 1] >= 0xC0 else (line, b"")


def _of_lines(
    file: io.BufferedReader | gzip.GzipFile, path: Path, text_field: str, chat_writer: ChatWriter | None
) -> Iterator[Text]:
    number = 0
    while line := file.readline(_LONGEST_RECORD + 1):
        number += 1
        where = f"{path}, line {number}"
        if len(line) > _LONGEST_RECORD:
            raise BadDocumentError(where, f"it is longer than {_LONGEST_RECORD:,} bytes")
        encoded = _decoded(line, where)
        if not encoded.strip():
            continue
        try:
            item = json.loads(encoded)
        except (ValueError, RecursionError) as error:  # a ValueError also for a number of thousands of digits
            raise BadDocumentError(where, f"it is not valid JSON ({error})") from None
        value = field_of(item, text_field, where) if isinstance(item, dict) else item
        content = content_of(value, where, chat_writer)
        if content:
            yield Text(content, where)


def _of_parquet(file: io.BufferedReader, path: Path, text_field: str, chat_writer: ChatWriter | None) -> Iterator[Text]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingPackageError("pyarrow", "collate", f"{path} is a Parquet file") from None
    try:
        table = pyarrow.parquet.ParquetFile(file)
        if text_field not in table.schema_arrow.names:
            columns = ", ".join(map(repr, table.schema_arrow.names))
            raise InvalidRequestError(f"{path} has no column {text_field!r}. Set text_field to one of: {columns}.")
        row = 0
        for batch in table.iter_batches(batch_size=64, columns=[text_field]):
            for value in batch.column(0).to_pylist():
                where = f"{path}, row {row}"
                if content := content_of(value, where, chat_writer):
                    yield Text(content, where)
                row += 1
    except NeuronExplainerError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # pyarrow raises bare ones, too
        raise BadDocumentError(str(path), f"the Parquet file is damaged ({error})") from None


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadDocumentError(where, f"it is not UTF-8 at byte {error.start} of the line") from None
