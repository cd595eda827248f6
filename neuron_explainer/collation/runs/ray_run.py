"""The same pass on Ray: workers hold the model, the texts are divided among them, partial results merge in a tree.

The driver reads the texts and makes the sequences, so that they have the numbers, and the batches, that a local run
gives them. What a run on Ray finds is what a local one finds, but for the rounding of moments in float64.
"""

import os
import time
from typing import Any

import torch

from neuron_explainer.collation.corpus.windows import CorpusReader, Cursor
from neuron_explainer.collation.runs.job import Subject
from neuron_explainer.collation.runs.local import Corpus, Job
from neuron_explainer.collation.runs.ray_pool import Shards, WorkerPool
from neuron_explainer.collation.runs.ray_worker import WorkerSetup, collation_of
from neuron_explainer.collation.runs.saved_state import ResumePoint, load_state, save_state
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.errors import CorpusChangedError, InvalidRequestError, MissingPackageError

_BATCHES_IN_SHARD = 64


def run_on_ray(
    job: Job,
    subject: Subject,
    *,
    n_workers: int | None = None,
    address: str | None = None,
    shard_tokens: int | None = None,
) -> tuple[Collation, Corpus]:
    """Go through all texts on Ray, from the last checkpoint on if there is one.

    Args:
        job: what is to be done.
        subject: the model, which every worker gets a copy of.
        n_workers: how many workers; None: one for each CPU of the cluster, or each GPU if the model is on one.
        address: a cluster's address; None: the cluster that is connected to, or one started here for this run.
        shard_tokens: how many tokens a worker is given at a time; None: 64 batches.

    Raises:
        MissingPackageError: Ray is not installed.
        InvalidRequestError: the cluster has fewer CPUs, or GPUs, than `n_workers`.
        WorkerLostError: the workers that were given a shard died again and again.
        CorpusChangedError: the texts are not those that an earlier part of the run saw.
    """
    try:
        import ray
    except ImportError:
        raise MissingPackageError("ray", "ray", 'engine="ray" runs on Ray') from None
    started_here = not ray.is_initialized()
    if started_here:
        _connect(ray, address, n_workers)
    try:
        setup = WorkerSetup.of(job, subject)
        pool = WorkerPool(ray, setup, _crew_size(ray, n_workers, setup.device_type))
        try:
            return _through_all_texts(job, pool, shard_tokens or _BATCHES_IN_SHARD * job.settings.batch_tokens)
        finally:
            pool.dismiss()
    finally:
        if started_here:
            ray.shutdown()


def _connect(ray: Any, address: str | None, n_workers: int | None) -> None:
    if address is not None:
        ray.init(address=address, log_to_driver=False)
        return
    n_cpus = max(n_workers or 1, os.cpu_count() or 1)
    ray.init(
        address="local",
        num_cpus=n_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",  # nothing outside of this machine has to reach it
    )


def _crew_size(ray: Any, asked: int | None, device_type: str) -> int:
    """How many workers there are to be.

    Raises:
        InvalidRequestError: more are asked for than the cluster has CPUs, or GPUs; they would wait for ever.
    """
    kind = "GPU" if device_type == "cuda" else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if asked is not None and not 1 <= asked <= there:
        raise InvalidRequestError(
            f"n_workers is {asked}; this Ray has {there} {kind}s, so it must be from 1 to {there}."
        )
    if there == 0:
        raise InvalidRequestError(f"The model is on a {kind}, and this Ray has none.")
    return asked or there


def _through_all_texts(job: Job, pool: WorkerPool, shard_tokens: int) -> tuple[Collation, Corpus]:
    checkpoint = load_state(job.folder, job.identity) if job.folder is not None else None
    collation = job.empty_collation()
    position = ResumePoint(Cursor(), 0, 0, "")
    if checkpoint is not None:
        collation.restore(checkpoint.tensors, torch.device("cpu"))
        position = checkpoint.position
        job.progress.resume(position.pool_start.tokens)
    if not position.is_complete:
        if position.batches_done:
            raise CorpusChangedError(
                "The unfinished run there was a local one, in the middle of a shard: finish it with engine='local', or "
                "start anew with overwrite=True."
            )
        reader = CorpusReader(job.texts(), position.read if checkpoint else None)
        pools = job.pools(reader, position.pool_start)
        shards = Shards(pools, shard_tokens, position.pool_start)

        def advance(n_tokens: int) -> None:
            job.progress.advance(n_tokens, reader.n_characters)

        while found := pool.run(shards, time.monotonic() + job.checkpoint_seconds, advance):
            collation = collation.merge(collation_of(pool.setup, found))
            position = ResumePoint(shards.end, 0, reader.n_texts, reader.digest)
            if job.folder is not None:
                save_state(job.folder, job.identity, position, collation.tensors())
        position = ResumePoint(shards.end, 0, reader.n_texts, reader.digest, is_complete=True)
        if shards.end.sequences == 0:
            raise InvalidRequestError("The texts hold not a single token: there is nothing to collate.")
        collation.prune()
        if job.folder is not None:
            save_state(job.folder, job.identity, position, collation.tensors())
    end = position.pool_start
    return collation, Corpus(position.n_texts, end.tokens, end.sequences, position.digest)
