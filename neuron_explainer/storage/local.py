"""Files on the local disk, read up to a size."""

import os
from pathlib import Path

from neuron_explainer.errors import MissingFileError, TooLargeError


def read_local_bytes(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """A file's bytes.

    Raises:
        MissingFileError: there is no such file.
        TooLargeError: it has more than `most_bytes`.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise MissingFileError(os.fspath(path)) from None
    if len(content) > most_bytes:
        raise TooLargeError(os.fspath(path), most_bytes)
    return content
