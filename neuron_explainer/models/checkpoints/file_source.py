"""The files of a checkpoint by name: in a folder, or downloaded."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from neuron_explainer.errors import CheckpointNotFoundError, MalformedCheckpointError

CONFIG_FILE_NAME = "config.json"


class FileSource(ABC):
    """Files by name.

    Attributes:
        is_local: whether looking for a file costs no request.
    """

    is_local: ClassVar[bool] = False

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
    is_local: ClassVar[bool] = True

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
    return json_object(file.read_bytes(), file)


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
    except (ValueError, RecursionError) as error:
        raise MalformedCheckpointError(f"{file} is not JSON.", file=file) from error
    if not isinstance(entries, dict):
        raise MalformedCheckpointError(f"{file} is not a JSON object.", file=file)
    return entries
