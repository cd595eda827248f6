"""The same pass on a local Ray of two workers, one of which is killed on the way."""

import gc
import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import neuron_explainer as ne
from helpers.collation_models import model_context, number_tokenizer, random_texts
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.collation.corpus.text_files import Text
from neuron_explainer.collation.runs import ray_run
from neuron_explainer.collation.runs.job import CollatedModel
from neuron_explainer.collation.runs.preparation import job_of
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.ray_pool import WorkerPool, _Phase
from neuron_explainer.collation.runs.ray_run import run_on_ray
from neuron_explainer.collation.settings import CollateSettings, SettingsChanges
from neuron_explainer.errors import BadDocumentError, CollateStopped, InvalidRequestError, NonFiniteActivationError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer

ray = pytest.importorskip("ray")

# Ray forgets its processes before they have ended.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

TEXTS = random_texts(80, seed=5)
SETTINGS: SettingsChanges = {
    "context_length": 12,
    "top_k": 5,
    "random_k": 3,
    "examples_per_quantile": 2,
    "batch_tokens": 40,
}


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    """One Ray for all tests of this file; it listens on this machine's loopback alone."""
    for attempt in range(3):
        try:
            ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=200 * 2**20,
                _node_ip_address="127.0.0.1",
            )
            break
        except Exception:  # Ray gives its own processes 30 seconds, which a busy machine may not
            _shut_down()
            if attempt == 2:
                raise
    yield
    _shut_down()


def _shut_down() -> None:
    """Stop Ray, and drop what it leaves while its warnings about that are ignored."""
    ray.shutdown()
    gc.collect()


@pytest.fixture
def hired(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The workers that are started from now on."""
    workers: list[Any] = []
    hire = WorkerPool._start_worker

    def watched(pool: WorkerPool) -> Any:
        workers.append(hire(pool))
        return workers[-1]

    monkeypatch.setattr(WorkerPool, "_start_worker", watched)
    return workers


def texts_that_kill(hired: list[Any], killed: list[int]) -> Iterator[Text]:
    """The texts; half-way through, the first worker's process is killed."""
    for number, text in enumerate(TEXTS):
        if number == len(TEXTS) // 2 and not killed:
            killed.append(ray.get(hired[0].__ray_call__.remote(lambda worker: os.getpid())))
            os.kill(killed[0], signal.SIGKILL)
        yield Text(text, f"text {number}")


@pytest.mark.long
@pytest.mark.usefixtures("two_workers")
def test_equal_to_a_local_run_though_a_worker_is_lost(hired: list[Any], tmp_path: Path) -> None:
    context = model_context()
    local = ne.collate(context, TEXTS, tmp_path / "local", progress=False, **SETTINGS)
    killed: list[int] = []
    settings = CollateSettings(**SETTINGS)
    collated_model = CollatedModel(context)
    job = job_of(
        collated_model,
        lambda: texts_that_kill(hired, killed),
        settings,
        folder=tmp_path / "work",
        save_every_seconds=1.0,
        progress=Progress(show=False),
    )
    collation, corpus = run_on_ray(job, collated_model, n_workers=2, shard_tokens=100)
    assert len(killed) == 1
    assert len(hired) == 3  # two workers, and the lost one's successor
    made_with = PackedDataset.open(local).info.provenance["corpus"]
    assert (corpus.n_texts, corpus.n_tokens, corpus.sha256) == tuple(
        made_with[name] for name in ("n_texts", "n_tokens", "sha256")
    )
    job.texts = lambda: iter(())  # the checkpoint holds everything
    again, _ = run_on_ray(job, collated_model, n_workers=2)
    ray_path = ne.collate(context, TEXTS, tmp_path / "ray", progress=False, engine="ray", n_workers=1, **SETTINGS)
    for layer in range(3):
        for component in range(0, 128, 5):
            expected = PackedDataset.open(local).record(layer, component)
            found = PackedDataset.open(ray_path).record(layer, component)
            assert found.most_positive_activation_records == expected.most_positive_activation_records
            assert found.random_sample == expected.random_sample
            assert found.random_sample_by_quantile == expected.random_sample_by_quantile
            assert found.histogram == expected.histogram
            assert found.kurtosis == pytest.approx(expected.kurtosis, rel=1e-12)
    reference = collation.layers
    for layer, state in again.layers.items():
        assert torch.equal(state.top.rank, reference[layer].top.rank)
        assert torch.equal(state.active, reference[layer].active)


def has_ended(worker: Any) -> bool:
    """Whether a worker ends within half a minute: Ray may answer one more call before it has stopped it."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            ray.get(worker.__ray_call__.remote(lambda _: None), timeout=30)
        except ray.exceptions.RayActorError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.usefixtures("two_workers", "interruptible")
@pytest.mark.parametrize("how", ["Ctrl-C", "bad text"])
def test_a_stopped_run_is_saved_and_its_workers_end(
    how: str, hired: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "_BATCHES_IN_SHARD", 2)
    texts, path, context = random_texts(300, seed=6), tmp_path / "made", model_context()
    reached: list[int] = []

    def stopping() -> Iterator[Any]:
        for number, text in enumerate(texts):
            if number == 250 and how == "Ctrl-C":
                os.kill(os.getpid(), signal.SIGINT)
            elif number == 250:
                yield 5
            reached.append(number)
            yield text

    run = partial(ne.collate, out=path, progress=False, layers=1, **SETTINGS)
    with pytest.raises(BadDocumentError if how == "bad text" else CollateStopped) as caught:
        run(context, stopping(), engine="ray", n_workers=1)
    assert len(reached) < len(texts)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(caught.value, CollateStopped):
        assert caught.value.folder == f"{path}.collating"
        assert (
            str(caught.value) == f"Stopped. The work is saved in {path}.collating: make the same call again to go on."
        )
        assert isinstance(caught.value, KeyboardInterrupt)
    assert len(hired) == 1
    for worker in hired:
        assert has_ended(worker)
    with safe_open(f"{path}.collating/checkpoint.safetensors", framework="pt") as file:
        saved = json.loads(file.metadata()["collate"])["position"]
    assert 0 < saved["chunk_start"]["texts"] < len(texts)
    run(context, texts)
    local = ne.collate(context, texts, tmp_path / "local", progress=False, layers=1, **SETTINGS)
    for component in range(0, 128, 5):
        expected, found = ne.load_neuron(local, 1, component), ne.load_neuron(path, 1, component)
        assert found.most_positive_activation_records == expected.most_positive_activation_records
        assert found.random_sample == expected.random_sample
        assert found.histogram == expected.histogram


def test_what_is_saved_ends_where_a_part_is_missing() -> None:
    """Results come in any order, and neighbours are merged when both are there."""
    phase = _Phase()
    phase.tree = {(2, 0): "0 to 3", (0, 4): "4", (1, 3): "6 and 7", (0, 8): "8"}  # 5 is missing
    assert phase.first_done() == (["0 to 3", "4"], 5)
    phase.tree = {(0, 1): "1", (1, 1): "2 and 3"}
    assert phase.first_done() == ([], 0)
    phase.tree = {(2, 0): "0 to 3", (1, 2): "4 and 5", (0, 6): "6"}
    assert phase.first_done() == (["0 to 3", "4 and 5", "6"], 7)


@pytest.mark.usefixtures("two_workers")
def test_errors_of_workers_reach_the_caller(tmp_path: Path) -> None:
    config = model_context("gpt2").config
    model = Transformer.with_random_weights(config)
    model.blocks[1].mlp.input_weight.data.fill_(torch.inf)
    context = StandardModelContext("broken", model, number_tokenizer())
    with pytest.raises(NonFiniteActivationError, match="layer 1"):
        ne.collate(context, TEXTS, tmp_path / "a", engine="ray", n_workers=1, progress=False, **SETTINGS)
    with pytest.raises(InvalidRequestError, match="n_workers"):
        ne.collate(context, TEXTS, tmp_path / "b", engine="ray", n_workers=0, progress=False, **SETTINGS)
