"""Ray workers, and how a corpus is divided among them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from neuron_explainer.collation.corpus.windows import CorpusChunk, CorpusPosition
from neuron_explainer.collation.runs.ray_worker import Arrays, Worker, WorkerSetup, merged
from neuron_explainer.errors import WorkerLostError

_ATTEMPTS = 4
"""How often a shard is tried before the run fails."""


class Shards(Iterator[list[CorpusChunk]]):
    """A corpus in shards: consecutive chunks with about `shard_tokens` tokens together.

    Attributes:
        end: the position after the last shard that was taken.
    """

    def __init__(self, chunks: Iterator[CorpusChunk], shard_tokens: int, start: CorpusPosition) -> None:
        self._chunks = chunks
        self._shard_tokens = shard_tokens
        self.end = start

    def __next__(self) -> list[CorpusChunk]:
        shard: list[CorpusChunk] = []
        n_tokens = 0
        while n_tokens < self._shard_tokens and (chunk := next(self._chunks, None)) is not None:
            shard.append(chunk)
            n_tokens += sum(map(len, chunk.sequences))
        if not shard:
            raise StopIteration
        self.end = shard[-1].end
        return shard


@dataclass
class _Phase:
    """The work between two saved states.

    Attributes:
        shards: every shard, kept because it may have to be tried again.
        attempts: how often each shard was tried.
        waiting: the numbers of the shards to try next.
        tree: results by level and number; numbers 2i and 2i + 1 merge into number i of the next level.
    """

    shards: list[list[CorpusChunk]] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    tree: dict[tuple[int, int], Any] = field(default_factory=dict)

    def retry(self, number: int, error: Exception) -> None:
        """Try a shard again, because its result was lost.

        Raises:
            WorkerLostError: it was tried too often.
        """
        if self.attempts[number] >= _ATTEMPTS:
            raise WorkerLostError(
                f"{_ATTEMPTS} workers died on the same part of the texts. The last error: {error}. They may have run "
                "out of memory: try a smaller batch_tokens or fewer workers."
            ) from error
        self.waiting.append(number)


class WorkerPool:
    """The workers. A lost worker is replaced, and its shard is tried again.

    Attributes:
        setup: what every worker got.
    """

    def __init__(self, ray: Any, setup: WorkerSetup, size: int) -> None:
        self.setup = setup
        self._ray = ray
        self._setup_reference = ray.put(setup)
        gpus = 1 if setup.device_type == "cuda" else 0
        self._actor = ray.remote(num_cpus=1, num_gpus=gpus)(Worker)
        self._merge = ray.remote(num_cpus=0)(merged)
        self._idle = [self._start_worker() for _ in range(size)]
        self._busy: dict[Any, tuple[Any, Any, int]] = {}

    def _start_worker(self) -> Any:
        return self._actor.remote(self._setup_reference)

    def stop(self) -> None:
        """Stop all workers, which frees their CPUs, GPUs and memory."""
        for worker in [*self._idle, *(worker for worker, _, _ in self._busy.values())]:
            self._ray.kill(worker)
        self._idle, self._busy = [], {}

    def run(self, shards: Shards, until: float, advance: Callable[[int], None]) -> Arrays | None:
        """Collate shards until a given time, or to the last one.

        Args:
            shards: the remaining shards.
            until: the time, on the clock of `time.monotonic`.
            advance: called with a shard's number of tokens when the shard is done.

        Returns:
            The merged tensors; None if no shard remained.

        Raises:
            WorkerLostError: workers died on the same shard again and again.
        """
        phase = _Phase()
        while True:
            self._collate_shards(phase, shards, until, advance)
            if not phase.shards:
                return None
            try:
                return self._merged_result(phase)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                # A machine was lost with its finished results: all shards of the phase are tried again.
                phase.tree.clear()
                for number in range(len(phase.shards)):
                    phase.retry(number, error)

    def _collate_shards(self, phase: _Phase, shards: Shards, until: float, advance: Callable[[int], None]) -> None:
        """Hand out shards and gather results until every worker is done."""
        while True:
            self._hand_out(phase, shards, until)
            if not self._busy:
                return
            ready, _ = self._ray.wait(list(self._busy), num_returns=1)
            worker, result, number = self._busy.pop(ready[0])
            try:
                n_tokens = self._ray.get(ready[0])
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.WorkerCrashedError) as error:
                phase.retry(number, error)
                self._idle.append(self._start_worker())
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            self._idle.append(worker)
            advance(n_tokens)
            self._add_result(phase.tree, (0, number), result)

    def _hand_out(self, phase: _Phase, shards: Shards, until: float) -> None:
        while self._idle:
            if not phase.waiting:
                # A phase has at least one shard, so that every call makes progress.
                if phase.shards and time.monotonic() >= until:
                    return
                shard = next(shards, None)
                if shard is None:
                    return
                phase.waiting.append(len(phase.shards))
                phase.shards.append(shard)
                phase.attempts.append(0)
            number = phase.waiting.pop(0)
            phase.attempts[number] += 1
            worker = self._idle.pop(0)
            done, result = worker.collate.options(num_returns=2).remote(phase.shards[number])
            self._busy[done] = (worker, result, number)

    def _add_result(self, tree: dict[tuple[int, int], Any], slot: tuple[int, int], result: Any) -> None:
        """Put a result into the tree, and merge it with its neighbour if that has arrived."""
        level, number = slot
        neighbour = tree.pop((level, number ^ 1), None)
        if neighbour is None:
            tree[slot] = result
            return
        left, right = (result, neighbour) if number % 2 == 0 else (neighbour, result)
        self._add_result(tree, (level + 1, number // 2), self._merge.remote(self._setup_reference, left, right))

    def _merged_result(self, phase: _Phase) -> Arrays:
        """The merged result of all of a phase's shards."""
        parts = [phase.tree[slot] for slot in sorted(phase.tree, key=lambda slot: slot[1] << slot[0])]
        whole = parts[0]
        for part in parts[1:]:
            whole = self._merge.remote(self._setup_reference, whole, part)
        found: Arrays = self._ray.get(whole)
        return found
