"""The files of a checkpoint by name: in a folder, or downloaded."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuron_explainer.errors import (
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MissingFileError,
    TooLargeError,
)
from neuron_explainer.storage.local import read_local_bytes

CONFIG_FILE_NAME = "config.json"
MOST_JSON_BYTES = 64 * 2**20
"""The largest size of a config or an index. The largest indexes have about 20 MB."""


class FileSource(ABC):
    """Files by name."""

    @abstractmethod
    def find(self, name: str) -> Path | None:
        """The local path of a file, downloaded if necessary; None if there is no such file."""

    @abstractmethod
    def describe_weights(self) -> str:
        """One sentence for errors about missing weights: which files exist instead."""


@dataclass(frozen=True)
class Folder(FileSource):
    """A folder on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def find(self, name: str) -> Path | None:
        """The file in the folder."""
        file = self.path / name
        return file if file.is_file() else None

    def describe_weights(self) -> str:
        """The names of the files in the folder."""
        present = sorted(file.name for file in self.path.iterdir())
        return f"The folder contains: {', '.join(present[:12]) or 'nothing'}{', …' if len(present) > 12 else ''}."


def read_config(source: FileSource) -> dict[str, Any]:
    """The entries of `config.json`.

    Raises:
        CheckpointNotFoundError: the source has no `config.json`.
        MalformedCheckpointError: it is not a JSON object.
    """
    file = source.find(CONFIG_FILE_NAME)
    if file is None:
        raise CheckpointNotFoundError(
            f"{source} has no {CONFIG_FILE_NAME}, so it is not a model in Hugging Face's layout. "
            f"{source.describe_weights()}",
            file=source,
        )
    return read_json_object(file)


def read_json_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file on this machine.

    Raises:
        CheckpointNotFoundError: the file does not exist.
        MalformedCheckpointError: it is not a JSON object, or is far too large.
    """
    try:
        return json_object(read_local_bytes(file, MOST_JSON_BYTES), file)
    except MissingFileError as error:
        raise CheckpointNotFoundError(f"{file} does not exist.", file=file) from error
    except TooLargeError as error:
        raise MalformedCheckpointError(str(error), file=file) from error


def json_object(content: bytes, file: object) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        content: the file's bytes.
        file: its path or address, for errors.

    Raises:
        MalformedCheckpointError: the content is not JSON, or not an object.
    """
    try:
        entries = json.loads(content)
    except RecursionError as error:
        raise MalformedCheckpointError(f"{file} is nested too deeply.", file=file) from error
    except ValueError as error:
        raise MalformedCheckpointError(f"{file} is not JSON.", file=file) from error
    if not isinstance(entries, dict):
        raise MalformedCheckpointError(f"{file} is not a JSON object.", file=file)
    return entries
