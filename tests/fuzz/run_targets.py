"""Saved states of runs, stores of derived scalars, and texts from outside."""

import functools
import gzip
import io
import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from safetensors import SafetensorError
from safetensors.torch import load, save

import neuron_explainer as ne
from fuzz.mutations import mutated_bytes, mutated_json
from fuzz.record_targets import check_record
from fuzz.target import Scene, Target, scenes_of
from fuzz.tensor_mutations import mutated_safetensors
from helpers.collation_models import model_context, random_texts
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.collation.runs.saved_state import STATE_FILE_NAME, _checksum
from neuron_explainer.models.model_context import StandardModelContext

_TEXTS = random_texts(24, seed=3)
_SETTINGS: dict[str, Any] = {
    "context_length": 12,
    "top_k": 3,
    "random_k": 2,
    "examples_per_quantile": 1,
    "batch_tokens": 20,
    "layers": [0],
    "progress": False,
    "save_every_seconds": 0.0,
}
_STATE = f"out.collating/{STATE_FILE_NAME}"


@functools.cache
def _context() -> StandardModelContext:
    return model_context()


class _StopError(Exception):
    """What stops a run."""


def _stopping(n_texts: int) -> Iterator[str]:
    yield from _TEXTS[:n_texts]
    raise _StopError


def _stopped_runs(folder: Path) -> list[Path]:
    folders = []
    for n_texts in (15, 23):
        folders.append(folder / str(n_texts))
        folders[-1].mkdir()
        try:
            ne.collate(_context(), _stopping(n_texts), folders[-1] / "out", **_SETTINGS)
        except _StopError:
            continue
    return folders


def _state_scenes(folder: Path) -> list[Scene]:
    return [scene for run in _stopped_runs(folder) for scene in scenes_of(run, {_STATE: mutated_safetensors})]


def _sealed_scenes(folder: Path) -> list[Scene]:
    return [scene for run in _stopped_runs(folder) for scene in scenes_of(run, {_STATE: _mutated_and_sealed})]


def _mutated_and_sealed(content: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A changed state whose checksum fits, as if somebody meant the change."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    tensors = load(content)
    if chance.random() < 0.5:
        described = mutated_json(metadata["collate"].encode(), chance).decode("utf-8", "replace")
    else:
        described = metadata["collate"]
        try:
            tensors = load(mutated_safetensors(content, chance, others))
        except (SafetensorError, KeyError, ValueError, RuntimeError, OverflowError):
            tensors.pop(chance.choice(list(tensors)))
    try:
        sealed = {**metadata, "collate": described, "sha256": _checksum(described, tensors)}
        return save(tensors, sealed)
    except (RuntimeError, TypeError):  # of a dtype that cannot be seen as bytes
        return content


@functools.cache
def _uninterrupted() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as temporary:
        made = ne.collate(_context(), _TEXTS, Path(temporary) / "out", **_SETTINGS)
        return {file.name: file.read_bytes() for file in made.iterdir()}


def _resumed(folder: Path, temporary: str) -> Path:
    shutil.copytree(folder, Path(temporary) / "run")
    return ne.collate(_context(), _TEXTS, Path(temporary) / "run" / "out", **_SETTINGS)


def _read_state(folder: Path) -> None:
    expected = _uninterrupted()
    with tempfile.TemporaryDirectory() as temporary:
        made = _resumed(folder, temporary)
        assert {file.name: file.read_bytes() for file in made.iterdir()} == expected


def _read_sealed(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        check_record(ne.load_neuron(_resumed(folder, temporary), 0, 1))


def _store_scenes(folder: Path) -> list[Scene]:
    store = ne.derive("w1 w2 w3", ["mlp_write_norm", "attn_weighted_sum_of_values", "logits"], _context())
    store.save(folder / "store.safetensors")
    return scenes_of(folder, {"store.safetensors": mutated_safetensors})


def _read_store(folder: Path) -> None:
    store = DerivedScalarStore.load(folder / "store.safetensors")
    assert repr(store)
    store.to_dataframe()
    store.topk(3)


def _text_scenes(folder: Path) -> list[Scene]:
    lines = "\n".join(json.dumps({"text": text, "id": number}) for number, text in enumerate(_TEXTS)).encode()
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": _TEXTS}), table)
    by_name = {
        "texts.txt": "\n".join(_TEXTS).encode(),
        "texts.jsonl": lines,
        "texts.jsonl.gz": gzip.compress(lines, mtime=0),
        "texts.txt.gz": gzip.compress(b"w1 w2 " * 20, mtime=0),
        "texts.parquet": table.getvalue(),
    }
    scenes = [Scene({name: content}, name, mutated_bytes) for name, content in by_name.items()]
    return [*scenes, Scene({"line.jsonl": lines.splitlines()[0]}, "line.jsonl", mutated_json)]


def _read_texts(folder: Path) -> None:
    check_record(ne.live_record(_context(), 1, 3, folder, context_length=12))


TARGETS = [
    Target("run_state", _state_scenes, _read_state),
    Target("run_state_sealed", _sealed_scenes, _read_sealed),
    Target("derived_scalar_store", _store_scenes, _read_store),
    Target("texts", _text_scenes, _read_texts),
]
