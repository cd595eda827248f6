"""The same pass on Ray: every worker has the model and collates shards of the texts; partial results merge in a tree.

The driver reads the texts and cuts the sequences, so sequences and batches are those of a local run. Results equal
those of a local run except for the rounding of moments in float64.
"""

import os
import time
from typing import Any

import torch

from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.windows import CorpusPosition
from neuron_explainer.collation.runs.interrupts import delayed_interrupt
from neuron_explainer.collation.runs.job import CollatedModel, CorpusSummary, Job
from neuron_explainer.collation.runs.ray_pool import Shards, WorkerPool
from neuron_explainer.collation.runs.ray_worker import Arrays, WorkerSetup, collation_of
from neuron_explainer.collation.runs.saved_state import ResumePoint, load_state, save_state
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.errors import CorpusChangedError, InvalidRequestError, MissingPackageError, OutOfSpaceError
from neuron_explainer.wording import in_a_sentence, shown

_BATCHES_IN_SHARD = 64


def run_on_ray(
    job: Job,
    collated_model: CollatedModel,
    *,
    n_workers: int | None = None,
    address: str | None = None,
    shard_tokens: int | None = None,
) -> tuple[Collation, CorpusSummary]:
    """Read all texts on Ray, from the saved state on if there is one.

    Whatever stops the run, the work done so far is saved first: that of the first shards, up to one that is not done.
    Workers get some seconds to end theirs. A second Ctrl-C stops at once.

    Args:
        job: what to do.
        collated_model: the model; every worker gets a copy.
        n_workers: how many workers; None: one for each CPU of the cluster, or for each GPU if the model is on one.
        address: a cluster's address; None: the cluster that Ray is connected to, or a new one on this machine.
        shard_tokens: how many tokens a worker gets at a time; None: 64 batches.

    Raises:
        MissingPackageError: Ray is not installed.
        InvalidRequestError: `n_workers` exceeds the cluster's CPUs or GPUs, or the texts contain no tokens.
        WorkerLostError: the workers that got a shard died again and again.
        CorpusChangedError: the texts differ from those of the earlier part of the run.
    """
    try:
        import ray
    except ImportError:
        raise MissingPackageError("ray", "ray", 'engine="ray" runs on Ray') from None
    started_here = not ray.is_initialized()
    if started_here:
        _connect(ray, address, n_workers)
    try:
        setup = WorkerSetup.of(job, collated_model)
        pool = WorkerPool(ray, setup, _pool_size(ray, n_workers, setup.device_type))
        try:
            return _collate_all_texts(job, pool, shard_tokens or _BATCHES_IN_SHARD * job.settings.batch_tokens)
        finally:
            pool.stop()
    finally:
        if started_here:
            ray.shutdown()


def _connect(ray: Any, address: str | None, n_workers: int | None) -> None:
    """Join a cluster, or start one on this machine.

    Raises:
        InvalidRequestError: the cluster at the address cannot be joined.
    """
    if address is not None:
        try:
            ray.init(address=address, log_to_driver=False)
        except (ValueError, ConnectionError, RuntimeError) as error:
            raise InvalidRequestError(
                f"The Ray cluster at {shown(address)} cannot be joined: {in_a_sentence(error)}. Give its address, such "
                "as 'auto' or 'host:6379', or none to start one here."
            ) from None
        return
    n_cpus = max(n_workers or 1, os.cpu_count() or 1)
    ray.init(
        address="local",
        num_cpus=n_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",  # other machines need not reach it
    )


def _pool_size(ray: Any, asked: int | None, device_type: str) -> int:
    """How many workers to start.

    Raises:
        InvalidRequestError: the cluster has fewer CPUs or GPUs than asked for; the others would wait for ever.
    """
    kind = "GPU" if device_type == "cuda" else "CPU"
    available = int(ray.cluster_resources().get(kind, 0))
    if available == 0:
        raise InvalidRequestError(f"The model is on a {kind}, but this Ray cluster has no {kind}s.")
    if asked is not None and not 1 <= asked <= available:
        raise InvalidRequestError(
            f"n_workers is {asked}. This Ray cluster has {available} {kind}s: choose 1 to {available}."
        )
    return asked or available


def _collate_all_texts(job: Job, pool: WorkerPool, shard_tokens: int) -> tuple[Collation, CorpusSummary]:
    saved = load_state(job.folder, job.identity) if job.folder is not None else None
    collation = job.empty_collation()
    resume_point = ResumePoint(CorpusPosition(), 0, 0, "")
    if saved is not None:
        collation.restore(saved.tensors, torch.device("cpu"))
        resume_point = saved.resume_point
        job.progress.resume(resume_point.chunk_start.tokens)
    if not resume_point.is_complete:
        if resume_point.batches_done:
            raise CorpusChangedError(
                "The unfinished run was a local one and stopped in the middle of a chunk. Finish it with "
                "engine='local', or start again with overwrite=True."
            )
        reader = CorpusReader(job.texts(), resume_point.read if saved else None)
        chunks = job.chunks(reader, resume_point.chunk_start)
        shards = Shards(chunks, reader, shard_tokens)

        def advance(n_tokens: int) -> None:
            job.progress.advance(n_tokens, reader.n_characters)

        def add(done: tuple[Arrays, ResumePoint]) -> None:
            nonlocal collation, resume_point
            arrays, resume_point = done
            collation = collation.merge(collation_of(pool.setup, arrays))
            if job.folder is not None:
                save_state(job.folder, job.identity, resume_point, collation.tensors())

        with delayed_interrupt() as interrupts:
            try:
                while done := pool.run(shards, time.monotonic() + job.save_every_seconds, advance, interrupts):
                    add(done)
            except OutOfSpaceError:
                raise
            except BaseException:
                if (done := pool.done_so_far()) is not None:
                    add(done)
                raise
        resume_point = ResumePoint.at_the_end(resume_point.chunk_start, reader)
        collation.prune()
        if job.folder is not None:
            save_state(job.folder, job.identity, resume_point, collation.tensors())
    return collation, resume_point.corpus
