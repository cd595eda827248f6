"""Which strings are file names rather than texts, and which files they mean."""

import os
import re
from itertools import islice
from pathlib import Path

from neuron_explainer.errors import InvalidRequestError, MissingFileError, choices_sentence, nearest_first, shown
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.storage.local import is_local_file, is_local_folder, readable
from neuron_explainer.storage.locations import expanded, is_url
from neuron_explainer.wording import without_steering

_FILE_SUFFIXES = (".txt", ".jsonl", ".parquet", ".txt.gz", ".jsonl.gz")
_LONGEST_NAME = 4096
_OTHER_FILE = re.compile(
    r"\S+\.(csv|tsv|json|text|md|pdf|docx?|html?|xml|arrow|zip|tar|tgz|gz\w*|bz2|xz|zst|jsonl\w+|txt\w+|parq\w*)",
    re.IGNORECASE,
)
_ON_THE_WAY = re.compile(r"(\.\.?|~)?/\S+")
_MOST_ENTRIES = 10_000


def is_file_name(text: str) -> bool:
    """Whether a string is a file name rather than a text: one line that ends in the suffix of a text file."""
    if isinstance(text, ChatText):
        return False
    return len(text) < _LONGEST_NAME and text.lower().endswith(_FILE_SUFFIXES) and "\n" not in text


def is_meant_as_path(text: str) -> bool:
    """Whether a string that is all that was given for texts can hardly be one: a file's name, or a path.

    A path is one word that begins with ./, ../, ~/ or a folder of the system, or ends as files of any kind do.
    """
    if is_file_name(text):
        return True
    if isinstance(text, ChatText) or len(text) >= _LONGEST_NAME or is_url(text):
        return False
    if _ON_THE_WAY.fullmatch(text):
        first = text.split("/")[1]
        return not text.startswith("/") or (bool(first) and is_local_folder(f"/{first}"))
    return _OTHER_FILE.fullmatch(text) is not None


def files_of(given: str | os.PathLike[str]) -> list[Path]:
    """The text files that a path means: the file, or the files of the folder in the order of their names.

    Raises:
        MissingFileError: the file does not exist (the nearest names in its folder are listed), or the folder has no
            text files.
        UnreadableFileError: the system refuses the path or the folder.
        InvalidRequestError: the file's suffix is unknown, or the path is an address.
    """
    if is_url(given):
        raise InvalidRequestError(f"{shown(os.fspath(given))} is an address. Download the texts, and give their path.")
    path = expanded(given)
    if is_local_folder(path):
        with readable(str(path)):
            found = sorted(file for file in path.iterdir() if _is_named_as_text(file) and not is_local_folder(file))
        if not found:
            raise MissingFileError(str(path), f"the folder has no file that ends in {', '.join(_FILE_SUFFIXES)}")
        return found
    with readable(str(path)):
        is_there = os.path.lexists(path) and path.stat() is not None  # `stat` raises what is wrong with it
    if not is_there:
        hint = " A text that looks like a path is given as [{'text': …}]." if isinstance(given, str) else ""
        raise MissingFileError(str(path), _what_there_is(path) + hint)
    if not _is_named_as_text(path):
        raise InvalidRequestError(
            f"{path} is not a text file. Give a file whose name ends in {', '.join(_FILE_SUFFIXES)}."
        )
    return [path]


def _is_named_as_text(path: Path) -> bool:
    return path.name.lower().endswith(_FILE_SUFFIXES)


def _what_there_is(path: Path) -> str:
    """That a path does not exist, and what there is in the last of its folders that does."""
    missing = path
    while not is_local_folder(missing.parent) and missing.parent != missing:
        missing = missing.parent
    folder, is_folder = missing.parent, missing != path
    problem = "the file does not exist" if not is_folder else f"there is no folder {missing}"
    with readable(str(folder)):
        names = [
            without_steering(entry.name)
            for entry in islice(os.scandir(folder), _MOST_ENTRIES)
            if (is_local_folder(entry) if is_folder else is_local_file(entry) and _is_named_as_text(Path(entry.name)))
        ]
    kind = "folder" if is_folder else "text file"
    if not names:
        return f"{problem}, and {folder.absolute()} has no {kind}."
    return f"{problem}. {choices_sentence(nearest_first(missing.name, names))}"
