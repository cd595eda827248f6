"""Ray workers, and how the shards of a corpus are divided among them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from neuron_explainer.collation.corpus.windows import Cursor, Pool
from neuron_explainer.collation.runs.ray_worker import Arrays, Worker, WorkerSetup, merged
from neuron_explainer.errors import WorkerLostError

_ATTEMPTS = 4
"""How often a shard is given out before the run is given up."""


class Shards(Iterator[list[Pool]]):
    """Consecutive pools, together about so many tokens.

    Attributes:
        end: the place after the last shard that was asked for.
    """

    def __init__(self, pools: Iterator[Pool], shard_tokens: int, start: Cursor) -> None:
        self._pools = pools
        self._shard_tokens = shard_tokens
        self.end = start

    def __next__(self) -> list[Pool]:
        shard: list[Pool] = []
        n_tokens = 0
        while n_tokens < self._shard_tokens and (pool := next(self._pools, None)) is not None:
            shard.append(pool)
            n_tokens += sum(map(len, pool.sequences))
        if not shard:
            raise StopIteration
        self.end = shard[-1].end
        return shard


@dataclass
class _Phase:
    """What is given out between two checkpoints.

    Attributes:
        shards: every shard, as long as it may have to be given out again.
        attempts: how often each was given out.
        waiting: those to give out (again).
        tree: results, by level and number; those of numbers 2i and 2i + 1 merge into number i of the next level.
    """

    shards: list[list[Pool]] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    tree: dict[tuple[int, int], Any] = field(default_factory=dict)

    def give_back(self, number: int, error: Exception) -> None:
        """Note that a shard's result was lost.

        Raises:
            WorkerLostError: that has happened too often.
        """
        if self.attempts[number] >= _ATTEMPTS:
            raise WorkerLostError(
                f"{_ATTEMPTS} workers died over the same piece of text, the last one so: {error}. They may run out of "
                "memory: try a smaller batch_tokens, or fewer workers."
            ) from error
        self.waiting.append(number)


class WorkerPool:
    """The workers; one that is lost is replaced, and its shard given out again.

    Attributes:
        setup: what every worker was told.
    """

    def __init__(self, ray: Any, setup: WorkerSetup, size: int) -> None:
        self.setup = setup
        self._ray = ray
        self._lesson = ray.put(setup)
        gpus = 1 if setup.device_type == "cuda" else 0
        self._actor = ray.remote(num_cpus=1, num_gpus=gpus)(Worker)
        self._merge = ray.remote(num_cpus=0)(merged)
        self._idle = [self._hire() for _ in range(size)]
        self._busy: dict[Any, tuple[Any, Any, int]] = {}

    def _hire(self) -> Any:
        return self._actor.remote(self._lesson)

    def dismiss(self) -> None:
        """Let all workers go, so that what they held is free for others."""
        for worker in [*self._idle, *(worker for worker, _, _ in self._busy.values())]:
            self._ray.kill(worker)
        self._idle, self._busy = [], {}

    def run(self, shards: Shards, until: float, advance: Callable[[int], None]) -> Arrays | None:
        """Give out shards until a moment, or until there are no more.

        Args:
            shards: those that there are still.
            until: the moment, by `time.monotonic`.
            advance: is told how many tokens each shard had, when it is done.

        Returns:
            What was found in them, merged; None if there was no shard.

        Raises:
            WorkerLostError: workers died over the same shard again and again.
        """
        phase = _Phase()
        while True:
            self._work_off(phase, shards, until, advance)
            if not phase.shards:
                return None
            try:
                return self._harvest(phase)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                # A machine is gone, and with it results that were finished: the phase is worked through again.
                phase.tree.clear()
                for number in range(len(phase.shards)):
                    phase.give_back(number, error)

    def _work_off(self, phase: _Phase, shards: Shards, until: float, advance: Callable[[int], None]) -> None:
        """Give out shards, and gather the results, until everything that was given out is done."""
        while True:
            self._give_out(phase, shards, until)
            if not self._busy:
                return
            ready, _ = self._ray.wait(list(self._busy), num_returns=1)
            worker, result, number = self._busy.pop(ready[0])
            try:
                n_tokens = self._ray.get(ready[0])
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.WorkerCrashedError) as error:
                phase.give_back(number, error)
                self._idle.append(self._hire())
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            self._idle.append(worker)
            advance(n_tokens)
            self._grow(phase.tree, (0, number), result)

    def _give_out(self, phase: _Phase, shards: Shards, until: float) -> None:
        while self._idle:
            if not phase.waiting:
                # A phase has one shard at least, so that every call gets on.
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

    def _grow(self, tree: dict[tuple[int, int], Any], place: tuple[int, int], result: Any) -> None:
        """Put a result into the tree, and merge it with its neighbour if that is there."""
        level, number = place
        neighbour = tree.pop((level, number ^ 1), None)
        if neighbour is None:
            tree[place] = result
            return
        left, right = (result, neighbour) if number % 2 == 0 else (neighbour, result)
        self._grow(tree, (level + 1, number // 2), self._merge.remote(self._lesson, left, right))

    def _harvest(self, phase: _Phase) -> Arrays:
        """The merged result of all of a phase's shards."""
        parts = [phase.tree[place] for place in sorted(phase.tree, key=lambda place: place[1] << place[0])]
        whole = parts[0]
        for part in parts[1:]:
            whole = self._merge.remote(self._lesson, whole, part)
        found: Arrays = self._ray.get(whole)
        return found
