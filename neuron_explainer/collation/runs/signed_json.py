"""Small JSON files by which a folder says what it is, with a checksum: a damaged one, or one of others, is told."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.wording import in_a_sentence

_MOST_BYTES = 64 * 2**20


def save_signed_json(path: Path, made_by: str, version: int, said: dict[str, Any]) -> None:
    """Write what a folder is. The file is replaced as a whole.

    Args:
        path: the file.
        made_by: what writes such files.
        version: of their form.
        said: what JSON can hold.
    """
    content = {"made_by": made_by, "version": version, **said, "sha256": _checksum(said)}
    write_bytes_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_signed_json(path: str | os.PathLike[str], made_by: str, version: int) -> dict[str, Any]:
    """What a file says that `save_signed_json` wrote.

    Raises:
        ValueError: it is damaged, or is something else; the message says how. No other error is raised.
    """
    try:
        content = json.loads(read_local_bytes(path, _MOST_BYTES))
        if content.pop("made_by") != made_by or content.pop("version") != version:
            raise ValueError("it is of something else")
        if content.pop("sha256") != _checksum(content):
            raise ValueError("its checksum differs")
        return dict(content)
    except (NeuronExplainerError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(in_a_sentence(error)) from None


def _checksum(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
