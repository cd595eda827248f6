"""Runs that are killed, interrupted, or run into a bad document or a full disk, and go on: to the same bytes."""

import hashlib
import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from torch import Tensor

import neuron_explainer as ne
from helpers.collation_models import model_context, random_texts
from neuron_explainer.errors import (
    BadDocumentError,
    CollateError,
    CollateStopped,
    CorpusChangedError,
    DatasetExistsError,
    OutOfSpaceError,
)

SETTINGS: dict[str, Any] = {
    "context_length": 12,
    "top_k": 5,
    "random_k": 3,
    "examples_per_quantile": 2,
    "batch_tokens": 60,
    "layers": [0, 2],
    "progress": False,
    "save_every_seconds": 0.0,
}
TEXTS = random_texts(60, seed=3)


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("whole") / "out"
    ne.collate(model_context(), TEXTS, path, **SETTINGS)
    return digest(path)


def forked(work: Callable[[], object]) -> int:
    """The process id of a copy of this process that does the work and ends with status 0."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def telling_at(n_texts: int, pipe: int) -> Iterator[str]:
    """The texts at a walk; when so many have been given, a byte goes through the pipe."""
    for number, text in enumerate(TEXTS):
        if number == n_texts:
            os.write(pipe, b".")
        time.sleep(0.003)
        yield text


def test_killed_at_random_moments(tmp_path: Path, uninterrupted: dict[str, str]) -> None:
    seed = 20
    chance = random.Random(seed)
    path = tmp_path / "out"
    context = model_context()
    reading, writing = os.pipe()
    n_killed = 0
    for _ in range(8):
        texts = telling_at(chance.randrange(50), writing)
        pid = forked(partial(ne.collate, context, texts, path, **SETTINGS))
        os.read(reading, 1)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        n_killed += os.WIFSIGNALED(status)
        if path.exists():
            break
    os.close(reading)
    os.close(writing)
    assert n_killed >= 1
    ne.collate(context, TEXTS, path, **SETTINGS)
    assert digest(path) == uninterrupted, f"seed {seed}"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out"]


class Stopped(Exception):
    """What stops a run in these tests."""


def stopping_after(n_texts: int, error: BaseException) -> Iterator[str]:
    yield from TEXTS[:n_texts]
    raise error


@pytest.mark.parametrize("error", [Stopped(), KeyboardInterrupt()])
def test_stopped_again_and_again(error: BaseException, tmp_path: Path, uninterrupted: dict[str, str]) -> None:
    context, path = model_context(), tmp_path / "out"
    for n_texts in (0, 7, 19, 40, 59):
        with pytest.raises(type(error)):
            ne.collate(context, stopping_after(n_texts, error), path, **SETTINGS | {"save_every_seconds": 1e9})
        assert not path.exists()
    ne.collate(context, iter(TEXTS), path, **SETTINGS)
    assert digest(path) == uninterrupted


@pytest.mark.usefixtures("interruptible")
def test_interrupt_lets_the_batch_finish(tmp_path: Path, uninterrupted: dict[str, str]) -> None:
    context, path = model_context(), tmp_path / "out"

    def interrupting(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    calm = SETTINGS | {"save_every_seconds": 1e9}
    for _ in range(3):
        # The interrupt comes in the middle of a forward pass; the batch is in the checkpoint all the same.
        handle = context.get_or_create_model().blocks[0].register_forward_hook(interrupting)
        with pytest.raises(CollateStopped, match=r"The work is saved in .*make the same call again to go on") as caught:
            ne.collate(context, TEXTS, path, **calm)
        assert caught.value.folder == f"{path}.collating"
        handle.remove()
    with safe_open(tmp_path / "out.collating" / "checkpoint.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["collate"])["position"]["batches_done"] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ne.collate(context, TEXTS, path, **calm)
    assert digest(path) == uninterrupted


def test_stopped_while_the_dataset_is_written(
    tmp_path: Path, uninterrupted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuron_explainer.activations.packed.writing import write_packed_layer
    from neuron_explainer.collation.output import dataset_writing

    written: list[int] = []

    def once(*arguments: object) -> None:
        if written:
            raise Stopped
        written.append(1)
        write_packed_layer(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(dataset_writing, "write_packed_layer", once)
        with pytest.raises(Stopped):
            ne.collate(model_context(), TEXTS, tmp_path / "out", **SETTINGS)
    assert not (tmp_path / "out").exists()

    def not_again(*_: object) -> Iterator[str]:
        yield from ()
        raise AssertionError("the texts were all in")

    monkeypatch.setattr("neuron_explainer.collation.runs.preparation.read_texts", not_again)
    ne.collate(model_context(), TEXTS, tmp_path / "out", **SETTINGS)
    assert digest(tmp_path / "out") == uninterrupted


def test_bad_document_is_named_mended_and_gone_on_from(tmp_path: Path, uninterrupted: dict[str, str]) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"text": text}) for text in TEXTS]
    corpus.write_text("\n".join([*lines[:50], '{"text": tru', *lines[51:]]))
    context, path = model_context(), tmp_path / "out"
    with pytest.raises(BadDocumentError, match=r"corpus\.jsonl, line 51"):
        ne.collate(context, corpus, path, **SETTINGS)
    assert (tmp_path / "out.collating" / "checkpoint.safetensors").is_file()
    corpus.write_text("\n".join(lines))
    n_run = []

    def count(_: object, inputs: tuple[Tensor, ...]) -> None:
        n_run.append(len(inputs[0]))

    handle = context.get_or_create_model().blocks[0].register_forward_pre_hook(count)
    ne.collate(context, corpus, path, **SETTINGS)
    handle.remove()
    n_sequences = json.loads((path / "dataset.json").read_text())["provenance"]["corpus"]["n_sequences"]
    assert 0 < sum(n_run) < 0.7 * n_sequences
    assert digest(path) == uninterrupted


def test_other_texts_and_other_settings_are_refused(tmp_path: Path) -> None:
    context, path = model_context(), tmp_path / "out"
    with pytest.raises(Stopped):
        ne.collate(context, stopping_after(40, Stopped()), path, **SETTINGS)
    with pytest.raises(CorpusChangedError):
        ne.collate(context, TEXTS[::-1], path, **SETTINGS)
    with pytest.raises(CorpusChangedError):
        ne.collate(context, TEXTS[:5], path, **SETTINGS)
    with pytest.raises(DatasetExistsError, match=r"settings\.seed \(there 0, asked 1\)"):
        ne.collate(context, TEXTS, path, **SETTINGS, seed=1)
    with pytest.raises(DatasetExistsError, match=r"model\.name"):
        ne.collate(model_context("gpt_neox"), TEXTS, path, **SETTINGS)
    ne.collate(context, TEXTS[::-1], path, **SETTINGS, overwrite=True)
    assert path.exists()


def test_damaged_saved_state_is_named(tmp_path: Path) -> None:
    context, path = model_context(), tmp_path / "out"
    with pytest.raises(Stopped):
        ne.collate(context, stopping_after(40, Stopped()), path, **SETTINGS)
    checkpoint = tmp_path / "out.collating" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CollateError, match=r"checkpoint\.safetensors is damaged"):
        ne.collate(context, TEXTS, path, **SETTINGS)


def test_full_disk_loses_nothing(tmp_path: Path, uninterrupted: dict[str, str]) -> None:
    """A limit on the size of files stands in for a full disk: the system refuses the write in the same way."""
    context, path = model_context(), tmp_path / "out"
    with pytest.raises(Stopped):
        ne.collate(context, stopping_after(40, Stopped()), path, **SETTINGS)
    checkpoint = tmp_path / "out.collating" / "checkpoint.safetensors"
    before = checkpoint.read_bytes()
    said = tmp_path / "said.txt"

    def with_little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
        try:
            ne.collate(context, TEXTS, path, **SETTINGS)
        except OutOfSpaceError as error:
            said.write_text(str(error))

    _, status = os.waitpid(forked(with_little_room), 0)
    assert os.WEXITSTATUS(status) == 0
    assert "Free some space and run the same command again" in said.read_text()
    assert checkpoint.read_bytes() == before
    assert [file.name for file in checkpoint.parent.iterdir()] == [checkpoint.name]
    ne.collate(context, TEXTS, path, **SETTINGS)
    assert digest(path) == uninterrupted
