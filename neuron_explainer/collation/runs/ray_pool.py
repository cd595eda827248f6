"""Ray workers, and how a corpus is divided among them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.windows import CorpusChunk
from neuron_explainer.collation.runs.ray_worker import Arrays, Worker, WorkerSetup, merged
from neuron_explainer.collation.runs.saved_state import ResumePoint
from neuron_explainer.errors import WorkerLostError

_ATTEMPTS = 4
"""How often a shard is tried before the run fails."""

_SECONDS_BETWEEN_LOOKS = 0.5
"""How long to wait for a worker before looking whether someone wants to stop."""

_SECONDS_TO_END = 10.0
"""How long a run that is stopped waits for its workers."""


@dataclass(frozen=True)
class Shard:
    """Consecutive chunks, and where a run goes on that has done everything up to them and them."""

    chunks: list[CorpusChunk]
    after: ResumePoint


class Shards(Iterator[Shard]):
    """A corpus in shards, each with about `shard_tokens` tokens."""

    def __init__(self, chunks: Iterator[CorpusChunk], reader: CorpusReader, shard_tokens: int) -> None:
        self._chunks = chunks
        self._reader = reader
        self._shard_tokens = shard_tokens

    def __next__(self) -> Shard:
        chunks: list[CorpusChunk] = []
        n_tokens = 0
        while n_tokens < self._shard_tokens and (chunk := next(self._chunks, None)) is not None:
            chunks.append(chunk)
            n_tokens += sum(map(len, chunk.sequences))
        if not chunks:
            raise StopIteration
        return Shard(chunks, ResumePoint(chunks[-1].end, 0, self._reader.n_texts, self._reader.digest))


@dataclass
class _Phase:
    """The work between two saved states.

    Attributes:
        shards: every shard, kept because it may have to be tried again.
        attempts: how often each shard was tried.
        waiting: the numbers of the shards to try next.
        tree: results by level and number; numbers 2i and 2i + 1 merge into number i of the next level.
    """

    shards: list[Shard] = field(default_factory=list)
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

    def first_done(self) -> tuple[list[Any], int]:
        """The results of the first shards, up to one that is not done, in order; and how many shards these are."""
        results, n_done = [], 0
        for level, number in sorted(self.tree, key=lambda slot: slot[1] << slot[0]):
            if number << level != n_done:
                break
            results.append(self.tree[level, number])
            n_done += 1 << level
        return results, n_done


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
        self._workers: list[Any] = []  # all of them, so that each is stopped, wherever an error strikes
        self._idle = [self._hired() for _ in range(size)]
        self._busy: dict[Any, tuple[Any, Any, int]] = {}
        self._phase = _Phase()

    def _start_worker(self) -> Any:
        return self._actor.remote(self._setup_reference)

    def _hired(self) -> Any:
        self._workers.append(self._start_worker())
        return self._workers[-1]

    def stop(self) -> None:
        """Stop all workers, which frees their CPUs, GPUs and memory."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers, self._idle, self._busy = [], [], {}

    def run(
        self, shards: Shards, until: float, advance: Callable[[int], None], interrupts: Sequence[int] = ()
    ) -> tuple[Arrays, ResumePoint] | None:
        """Collate shards until a given time, or to the last one.

        Args:
            shards: the remaining shards.
            until: the time, on the clock of `time.monotonic`.
            advance: called with a shard's number of tokens when the shard is done.
            interrupts: what is looked at now and then; if it is not empty, the run stops.

        Returns:
            The merged tensors, and where to go on after them; None if no shard remained.

        Raises:
            KeyboardInterrupt: there was an interrupt. `done_so_far` has what was done.
            WorkerLostError: workers died on the same shard again and again.
        """
        phase = self._phase = _Phase()
        while True:
            self._collate_shards(phase, shards, until, advance, interrupts)
            if not phase.shards:
                return None
            try:
                result = self._merged_result(phase.first_done()[0])
                self._phase = _Phase()
                return result, phase.shards[-1].after
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                # A machine was lost with its finished results: all shards of the phase are tried again.
                phase.tree.clear()
                for number in range(len(phase.shards)):
                    phase.retry(number, error)

    def done_so_far(self) -> tuple[Arrays, ResumePoint] | None:
        """What a stopped `run` had done, up to the first shard that was not done; None if that is nothing.

        Workers get some seconds to end the shards that they have.
        """
        phase, self._phase = self._phase, _Phase()
        until = time.monotonic() + _SECONDS_TO_END
        while self._busy and (left := until - time.monotonic()) > 0:
            ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=left)
            for done in ready:
                _, result, number = self._busy.pop(done)
                with suppress(self._ray.exceptions.RayError):
                    self._ray.get(done)
                    self._add_result(phase.tree, (0, number), result)
        results, n_done = phase.first_done()
        if not results:
            return None
        try:
            return self._merged_result(results), phase.shards[n_done - 1].after
        except self._ray.exceptions.RayError:  # the results were lost with their machine
            return None

    def _collate_shards(
        self,
        phase: _Phase,
        shards: Shards,
        until: float,
        advance: Callable[[int], None],
        interrupts: Sequence[int],
    ) -> None:
        """Hand out shards and gather results until every worker is done."""
        while True:
            self._hand_out(phase, shards, until)
            if not self._busy:
                return
            ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=_SECONDS_BETWEEN_LOOKS)
            if interrupts:
                raise KeyboardInterrupt
            if not ready:
                continue
            worker, result, number = self._busy.pop(ready[0])
            try:
                n_tokens = self._ray.get(ready[0])
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.WorkerCrashedError) as error:
                phase.retry(number, error)
                self._idle.append(self._hired())
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
            done, result = worker.collate.options(num_returns=2).remote(phase.shards[number].chunks)
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

    def _merged_result(self, parts: Sequence[Any]) -> Arrays:
        """The results of consecutive parts of the texts, merged."""
        whole = parts[0]
        for part in parts[1:]:
            whole = self._merge.remote(self._setup_reference, whole, part)
        found: Arrays = self._ray.get(whole)
        return found
