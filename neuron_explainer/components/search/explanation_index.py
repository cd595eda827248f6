"""The texts of all explanations in a local folder, kept in the cache's folder, so that files are read once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from neuron_explainer.activations.dataset_types import numbered_entries
from neuron_explainer.activations.explanation_files import explanations_from_json
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.notices import UnexpectedContentWarning, is_interactive, warn
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.disk_cache import cache_folder
from neuron_explainer.storage.local import read_local_bytes

_MOST_BYTES = 512 * 2**20
_MOST_FILE_BYTES = 256 * 2**20


class _File(msgspec.Struct, frozen=True, array_like=True):
    """One file of explanations: its neuron, its state, and each text with its score."""

    layer: int
    index: int
    n_bytes: int
    changed: int
    explanations: list[tuple[str, float | None]]


def explanations_in(folder: Path, progress: bool | None = None) -> list[tuple[int, int, str, float | None]]:
    """All explanations of a folder: layer, neuron, text, score.

    Files that have changed since they were read are read again, and those that are gone are left out.

    Args:
        folder: a folder of files `{layer}/{index}.jsonl`.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Raises:
        StoppedError: the work is to stop.

    Warns:
        UnexpectedContentWarning: some files cannot be read; the others are.
    """
    known = {(each.layer, each.index): each for each in _kept(folder)}
    files, wrong, has_new = [], [], False
    for layer, index, path in _with_bar(list(_paths(folder)), progress):
        stop_if_asked()
        try:
            status = os.stat(path)
        except OSError:
            continue
        before = known.get((layer, index))
        if before is not None and (before.n_bytes, before.changed) == (status.st_size, status.st_mtime_ns):
            files.append(before)
            continue
        has_new = True
        try:
            read = explanations_from_json(read_local_bytes(path, _MOST_FILE_BYTES), str(path))
        except (NeuronExplainerError, OSError):
            wrong.append(str(path))
            continue
        texts = [(each.explanation, each.scores.ev_correlation_score) for each in read.scored_explanations]
        files.append(_File(layer, index, status.st_size, status.st_mtime_ns, texts))
    if has_new or len(files) != len(known):
        _keep(folder, files)
    if wrong:
        warn(
            f"{len(wrong):,} files of explanations cannot be read, and are left out; the first is {wrong[0]}.",
            UnexpectedContentWarning,
        )
    return [(each.layer, each.index, text, score) for each in files for text, score in each.explanations]


def _paths(folder: Path) -> Iterator[tuple[int, int, Path]]:
    for layer in sorted(numbered_entries(folder, "")):
        for index in sorted(numbered_entries(folder / str(layer), ".jsonl")):
            yield layer, index, folder / str(layer) / f"{index}.jsonl"


def _with_bar(paths: list[tuple[int, int, Path]], progress: bool | None) -> Iterator[tuple[int, int, Path]]:
    if not (is_interactive() if progress is None else progress):
        yield from paths
        return
    from tqdm.auto import tqdm

    yield from tqdm(paths, desc="reading explanations", unit="neuron", leave=False)


def _file_of(folder: Path) -> Path | None:
    """Where a folder's texts are kept; None if the cache is off."""
    cache = cache_folder()
    if cache is None:
        return None
    name = hashlib.sha256(os.path.abspath(folder).encode("utf-8", "surrogatepass")).hexdigest()
    return cache / "explanation_indices" / f"{name}.json"


def _kept(folder: Path) -> list[_File]:
    path = _file_of(folder)
    if path is None:
        return []
    try:
        return msgspec.json.decode(read_local_bytes(path, _MOST_BYTES), type=list[_File])
    except (NeuronExplainerError, OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return []  # it is missing or damaged: all is read again


def _keep(folder: Path, files: list[_File]) -> None:
    path = _file_of(folder)
    if path is None:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes_atomically(path, msgspec.json.encode(files), durable=False, private=True)
