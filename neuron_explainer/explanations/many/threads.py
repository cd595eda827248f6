"""Work on many items in a few threads: results come as they are ready, and errors of all of it stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from neuron_explainer.models.watching import stop_if_asked, watched_passes
from neuron_explainer.notices import without_bars

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def results_of_threads(items: Iterable[ItemT], work: Callable[[ItemT], ResultT], n_threads: int) -> Generator[ResultT]:
    """The results of some work on each item, in the order in which they are ready.

    When one raises an error, no other begins; those that run end, and their results come before the error is raised.
    An interrupt stops the passes of models that run.

    Args:
        items: what there is to do; it is asked for as threads become free.
        work: what is done with each, in a thread. It shows no bars of its own.
        n_threads: in how many threads.

    Raises:
        StoppedError: the work that this is part of is to stop.
    """
    stop, left = threading.Event(), iter(items)

    def watched(item: ItemT) -> ResultT:
        with without_bars(), watched_passes(stop=stop):
            return work(item)

    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="explain")
    running: set[Future[ResultT]] = set()
    error: BaseException | None = None
    try:
        while True:
            while error is None and len(running) < n_threads:
                stop_if_asked()
                item = next(left, _NONE)
                if isinstance(item, _None):
                    break
                running.add(pool.submit(watched, item))
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                if (raised := future.exception()) is None:
                    yield future.result()
                else:
                    error = error or raised
        if error is not None:
            raise error
    finally:
        stop.set()  # after an interrupt, what still runs ends at its next layer
        pool.shutdown(wait=False, cancel_futures=True)


class _None:
    """Stands for no item."""


_NONE = _None()
