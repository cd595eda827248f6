"""Opens and reads local files: regular files alone, up to a limit of bytes. Nothing here waits for another program."""

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader

from neuron_explainer.errors import MissingFileError, TooLargeError, UnreadableFileError
from neuron_explainer.storage.locations import path_text

_NO_SUCH_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextlib.contextmanager
def opened_file(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Context manager that yields a regular file, open for reading bytes.

    Raises:
        MissingFileError: the file does not exist, or is a folder.
        UnreadableFileError: it is a pipe, a socket or a device; the system refuses to open or read it; or its name
            cannot be one.
    """
    text = path_text(path)
    with readable(text):
        # Opening a pipe would wait for its other end.
        descriptor = os.open(text, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
            if kind == stat.S_IFDIR:
                raise IsADirectoryError
            if kind != stat.S_IFREG:
                raise UnreadableFileError(text, f"it is {_KINDS.get(kind, 'something else')}, not a file")
            yield file


@contextlib.contextmanager
def readable(path: str) -> Iterator[None]:
    """Within this context, the system's errors about `path` become errors of this library.

    Raises:
        MissingFileError, UnreadableFileError: as `opened_file`.
    """
    try:
        yield
    except (MissingFileError, UnreadableFileError):
        raise
    except _NO_SUCH_FILE:
        raise MissingFileError(path) from None
    except OSError as error:
        raise UnreadableFileError(path, (error.strerror or type(error).__name__).lower()) from None
    except ValueError as error:
        if "\0" not in path and not isinstance(error, UnicodeError):
            raise
        raise UnreadableFileError(path, "its name has a character that names cannot have") from None


def is_local_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a regular file. Paths that the system refuses do not."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_local_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a folder. Paths that the system refuses do not."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_local_bytes(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """The bytes of a local file.

    Raises:
        MissingFileError: the file does not exist, or is a folder.
        UnreadableFileError: it is not a regular file, or the system refuses to open or read it.
        TooLargeError: it is larger than `most_bytes`.
    """
    with opened_file(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise TooLargeError(os.fspath(path), most_bytes)
    return content


def folder_size(folder: str | os.PathLike[str]) -> int:
    """How many bytes the files below a folder take; 0 if it is missing. What cannot be read does not count."""
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inner, name)
            with contextlib.suppress(OSError):  # another process may remove it, too
                total += os.stat(path).st_size if is_local_file(path) else 0
    return total
