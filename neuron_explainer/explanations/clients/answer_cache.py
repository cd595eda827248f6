"""Answers of language models on the disk: what was answered once is not asked for again.

An answer is one small file, under the SHA-256 of everything that it depends on: `ab/ab12….json` in the folder `answers`
beside the downloads, which `ne.clear_cache` leaves. A file is written whole or not at all, so several processes may use
the folder, and a process that is killed loses no answer that had come. A file that is damaged counts as none.

Each of the 256 folders keeps at most 8 MiB; what was written first goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatRequest
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX, write_bytes_atomically
from neuron_explainer.storage.disk_cache import cache_folder
from neuron_explainer.storage.local import folder_size, read_local_bytes
from neuron_explainer.storage.locations import local_path

_VERSION = 1
_FOLDER = "answers"
_MOST_ENTRY_BYTES = 32 * 2**20
_MOST_SHARD_BYTES = 8 * 2**20
_ABANDONED_SECONDS = 24 * 3600.0
_LOG = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True):
    """The contents of a file."""

    key: str
    sha256: str  # of the answer's bytes
    answer: msgspec.Raw


class AnswerCache:
    """Answers in a folder.

    Args:
        folder: the folder; it is made with the first answer.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = local_path("cache", folder)

    @classmethod
    def default(cls) -> AnswerCache | None:
        """That in the library's cache folder; None if NEURON_EXPLAINER_CACHE is `off`."""
        folder = cache_folder()
        return None if folder is None else cls(folder / _FOLDER)

    def find(self, key: str) -> ChatAnswer | None:
        """The answer that is kept; None if there is none, or its file is damaged.

        Args:
            key: what `key_of_request` gave.
        """
        try:
            entry = msgspec.json.decode(read_local_bytes(self._path(key), _MOST_ENTRY_BYTES), type=_Entry)
            if entry.key != key or entry.sha256 != _digest(bytes(entry.answer)):
                return None
            return replace(msgspec.json.decode(entry.answer, type=ChatAnswer), is_from_cache=True)
        except (NeuronExplainerError, OSError, msgspec.MsgspecError, ValueError, RecursionError):
            return None

    def keep(self, key: str, answer: ChatAnswer) -> None:
        """Keep an answer. Where it cannot be written, as on a full disk, the log says so."""
        encoded = msgspec.json.encode(replace(answer, is_from_cache=False))
        entry = _Entry(key, _digest(encoded), msgspec.Raw(encoded))
        path = self._path(key)
        try:
            # An entry is checked when it is read, so there is no need to wait for the disk.
            write_bytes_atomically(path, msgspec.json.encode(entry), durable=False, private=True)
            if key[2:4] == "00":  # one answer in 256: so each folder is looked at from time to time
                _make_room(path.parent)
        except OSError as error:
            _LOG.warning("An answer could not be kept: %s", error)

    def n_bytes(self) -> int:
        """How many bytes the answers take."""
        return folder_size(self.folder) if self.folder.is_dir() else 0

    def clear(self) -> int:
        """Remove all answers, and no other file. Returns the bytes freed."""
        before = self.n_bytes()
        for path in self.folder.glob(f"[0-9a-f][0-9a-f]/{'[0-9a-f]' * 64}.json"):
            with contextlib.suppress(OSError):
                path.unlink()
        return before - self.n_bytes()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def key_of_request(asked: Sequence[Any], request: ChatRequest) -> str:
    """The key of an answer: a digest of everything that it depends on.

    Args:
        asked: who is asked, such as the address and the model's name; no secrets.
        request: what is asked. The order of a schema's keys counts: models write in that order.
    """
    whole = [
        _VERSION,
        *asked,
        request.messages,
        request.max_tokens,
        request.temperature,
        request.seed,
        request.schema,
        request.top_logprobs,
    ]
    return _digest(msgspec.json.encode(whole))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _make_room(shard: Path) -> None:
    """Remove the oldest answers of a folder beyond its limit, and what killed processes left."""
    files = []
    for entry in os.scandir(shard):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if not entry.name.endswith(TEMPORARY_SUFFIX):
                files.append((status.st_mtime, status.st_size, entry.path))
            elif time.time() - status.st_mtime > _ABANDONED_SECONDS:
                os.unlink(entry.path)
    excess = sum(size for _, size, _ in files) - _MOST_SHARD_BYTES
    for _, size, path in sorted(files):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
            excess -= size
