"""Texts from wherever they are, one after the other: strings, files, Hugging Face datasets, iterators.

Nothing is read before it is needed, and at most one text is held. Every text has a name by which an error can point to
it.
"""

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuron_explainer.errors import BadDocumentError, InvalidRequestError, MissingFileError, MissingPackageError

LONGEST_TEXT = 1 << 20
"""A plain text file of more characters than this is read as several texts, each ending at a line's end."""

_FILE_SUFFIXES = (".txt", ".jsonl", ".parquet", ".txt.gz", ".jsonl.gz")


@dataclass(frozen=True)
class Text:
    """One text, and where it is from."""

    content: str
    where: str


def read_texts(texts: object, text_field: str = "text") -> Iterator[Text]:
    """The texts of any of the accepted sources, in order; empty ones are left out.

    Args:
        texts: a string (a text, or the name of a file that ends in .txt, .jsonl or .parquet, the first two perhaps
            with .gz); a `Path` to such a file, or to a folder of them (read in the order of their names); a Hugging
            Face dataset; or an iterable of strings, paths, or mappings that have `text_field`.
        text_field: the field of a JSON line, a Parquet column or a mapping that holds the text.

    Raises:
        InvalidRequestError: `texts` is none of these.
        MissingFileError: a file is not there.
        BadDocumentError: a text cannot be read; raised when its turn comes.
    """
    if isinstance(texts, (str, os.PathLike)):
        return _of_item(texts, text_field, "the text")
    if isinstance(texts, Mapping):
        named = ", ".join(map(repr, texts)) or "none"
        raise InvalidRequestError(
            f"`texts` is a {type(texts).__name__} of several parts ({named}), not a list of texts: choose one part."
        )
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise InvalidRequestError(
            f"`texts` is a {type(texts).__name__}; it must be text, a path, a dataset or an iterable of texts."
        )
    return _of_iterable(texts, text_field)


def n_characters(texts: object, text_field: str = "text") -> int | None:
    """About how long the texts are together, where that can be told without reading them; else None.

    For strings the number of characters, for plain files the number of bytes. It serves to tell how far a run is.
    """
    if isinstance(texts, os.PathLike) or (isinstance(texts, str) and is_file_name(texts)):
        files = _files_of(Path(texts))
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


def is_file_name(text: str) -> bool:
    """Whether a string is the name of a file rather than a text: one line that ends as our files do."""
    return text.endswith(_FILE_SUFFIXES) and "\n" not in text and len(text) < 4096


def _of_iterable(items: Iterable[object], text_field: str) -> Iterator[Text]:
    for number, item in enumerate(items):
        yield from _of_item(item, text_field, f"text {number}")


def _of_item(item: object, text_field: str, where: str) -> Iterator[Text]:
    if isinstance(item, os.PathLike) or (isinstance(item, str) and is_file_name(item)):
        for file in _files_of(Path(item)):
            yield from _of_file(file, text_field)
        return
    if isinstance(item, Mapping):
        item = _field(item, text_field, where)
    yield from _sound(item, where)


def _sound(content: object, where: str) -> Iterator[Text]:
    if not isinstance(content, str):
        raise BadDocumentError(where, f"it is a {type(content).__name__}, not a string")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise BadDocumentError(where, f"it holds half a surrogate pair at character {error.start}") from None
    if content:
        yield Text(content, where)


def _field(item: Mapping[Any, Any], text_field: str, where: str) -> object:
    if text_field not in item:
        raise BadDocumentError(where, f"it has no field {text_field!r}, but {', '.join(map(repr, item)) or 'none'}")
    return item[text_field]


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(_FILE_SUFFIXES))
        if not files:
            raise MissingFileError(str(path), f"the folder holds no file that ends in {', '.join(_FILE_SUFFIXES)}")
        return files
    if not path.is_file():
        raise MissingFileError(
            str(path), "there is no such file (a one-line string that ends as a text file does is taken for its name)"
        )
    if not path.name.endswith(_FILE_SUFFIXES):
        raise InvalidRequestError(f"{path} is not a file this reads: its name must end in {', '.join(_FILE_SUFFIXES)}.")
    return [path]


def _of_file(path: Path, text_field: str) -> Iterator[Text]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _of_parquet(path, text_field)
        return
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as file:
        try:
            yield from (_of_lines(file, path, text_field) if name.endswith(".jsonl") else _of_plain(file, path))
        except (EOFError, gzip.BadGzipFile) as error:
            raise BadDocumentError(str(path), f"it is no sound gzip file ({error})") from None


def _of_plain(file: Iterable[bytes], path: Path) -> Iterator[Text]:
    lines: list[str] = []
    length = 0
    first_line = 1
    for number, line in enumerate(file, start=1):
        lines.append(_decoded(line, f"{path}, line {number}"))
        length += len(lines[-1])
        if length >= LONGEST_TEXT:
            yield Text("".join(lines), f"{path}, from line {first_line}")
            lines, length, first_line = [], 0, number + 1
    if length:
        yield Text("".join(lines), f"{path}, from line {first_line}")


def _of_lines(file: Iterable[bytes], path: Path, text_field: str) -> Iterator[Text]:
    for number, line in enumerate(file, start=1):
        where = f"{path}, line {number}"
        content = _decoded(line, where)
        if not content.strip():
            continue
        try:
            item = json.loads(content)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadDocumentError(where, f"it is no JSON ({error})") from None
        yield from _sound(_field(item, text_field, where) if isinstance(item, dict) else item, where)


def _of_parquet(path: Path, text_field: str) -> Iterator[Text]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingPackageError("pyarrow", "collate", f"{path} is a Parquet file") from None
    try:
        table = pyarrow.parquet.ParquetFile(path)
        if text_field not in table.schema_arrow.names:
            columns = ", ".join(map(repr, table.schema_arrow.names))
            raise InvalidRequestError(f"{path} has no column {text_field!r}; it has {columns}. Name one as text_field.")
        row = 0
        for batch in table.iter_batches(batch_size=64, columns=[text_field]):
            for content in batch.column(0).to_pylist():
                yield from _sound(content, f"{path}, row {row}")
                row += 1
    except pyarrow.ArrowException as error:
        raise BadDocumentError(str(path), f"it is no sound Parquet file ({error})") from None


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadDocumentError(where, f"it is not UTF-8 at byte {error.start} of the line") from None
