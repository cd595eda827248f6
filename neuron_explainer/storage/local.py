"""Reads local files, up to a limit of bytes."""

import os
from pathlib import Path

from neuron_explainer.errors import MissingFileError, TooLargeError


def read_local_bytes(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """The bytes of a local file.

    Raises:
        MissingFileError: the file does not exist.
        TooLargeError: it is larger than `most_bytes`.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise MissingFileError(os.fspath(path)) from None
    if len(content) > most_bytes:
        raise TooLargeError(os.fspath(path), most_bytes)
    return content
