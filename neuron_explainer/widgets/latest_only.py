"""Background work in which only the latest task counts."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from neuron_explainer.errors import StoppedError
from neuron_explainer.models.watching import Progress, watched_passes
from neuron_explainer.widgets.background_threads import start_thread

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_INTERRUPTIONS = (KeyboardInterrupt, SystemExit)
_SECONDS_BETWEEN_REPORTS = 0.1


class LatestOnly(Generic[TaskT, ResultT]):
    """Runs tasks in threads. A task is dropped, at any stage, as soon as a later one is submitted.

    Threads keep the notebook's kernel free while a slow server answers. No event loop is needed. The passes of models
    that a dropped task runs stop after the layer at which they are.

    Every exception is delivered, `BaseException`s too: a package written in Rust panics with one, and a thread that
    ended without a word would leave its widget waiting.

    Args:
        work: computes the result of a task; called in a thread. Its exceptions are delivered.
        deliver: called in that thread with the task and its result or exception; never for two tasks at the same time,
            and never for a dropped task. If it fails on a result, it is called with that failure.
        progress: told, in that thread and at most ten times a second, how much of the latest task's passes is done,
            from 0 to 1.
        lock: held while delivering; None: one of its own. Several that share one never deliver at the same time.
    """

    def __init__(
        self,
        work: Callable[[TaskT], ResultT],
        deliver: Callable[[TaskT, ResultT | BaseException], None],
        progress: Progress | None = None,
        lock: "threading.RLock | None" = None,
    ) -> None:
        self._work = work
        self._deliver = deliver
        self._progress = progress
        # Held while delivering; `deliver` may submit another task.
        self._lock = threading.RLock() if lock is None else lock
        self._number = 0
        self._task: TaskT | None = None
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._finished.set()

    def submit(self, task: TaskT, pause: float = 0.0) -> None:
        """Run a task in the background, unless another one is submitted within `pause` seconds."""
        number, stop = self._begin(task)
        start_thread(partial(self._run_task, number, stop, task, pause), stop)

    def run(self, task: TaskT) -> None:
        """Run a task now, in this thread.

        Raises:
            KeyboardInterrupt, SystemExit: the task was interrupted; delivered, too.
        """
        result = self._run_task(*self._begin(task), task, 0.0)
        if isinstance(result, _INTERRUPTIONS):
            raise result

    def stop(self) -> None:
        """Drop the latest task if it is not finished, and deliver StoppedError as its result, in this thread."""
        with self._lock:
            if self._finished.is_set():
                return
            self._stop.set()
            self._number += 1
            stopped: TaskT = self._task  # type: ignore[assignment]  # set by every task that begins
            self._finish(self._number, stopped, StoppedError())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the latest task is finished. Returns whether it is.

        In a thread that delivers, or holds the lock for something else, it returns at once: nothing could be delivered.
        """
        if self._lock._is_owned():  # type: ignore[attr-defined]  # what threading.Condition calls, too
            return self._finished.is_set()
        return self._finished.wait(timeout)

    def _begin(self, task: TaskT) -> tuple[int, threading.Event]:
        with self._lock:
            self._stop.set()
            self._stop = threading.Event()
            self._number += 1
            self._task = task
            self._finished.clear()
            return self._number, self._stop

    def _run_task(
        self, number: int, stop: threading.Event, task: TaskT, pause: float
    ) -> ResultT | BaseException | None:
        """Run and deliver a task. Returns what was delivered; None for a dropped task."""
        if pause:
            stop.wait(pause)
            if number != self._number:
                return None
        result: ResultT | BaseException
        try:
            with watched_passes(self._reporter(number), stop):
                result = self._work(task)
        except BaseException as error:  # any error is shown in the widget
            result = error
        with self._lock:
            if number != self._number:
                return result if isinstance(result, _INTERRUPTIONS) else None
            return self._finish(number, task, result)

    def _reporter(self, number: int) -> Progress | None:
        """What is told of a task's progress; nothing is, once a later one has begun."""
        progress = self._progress
        if progress is None:
            return None
        reported = -_SECONDS_BETWEEN_REPORTS

        def report(fraction: float) -> None:
            nonlocal reported
            now = time.monotonic()
            if now - reported < _SECONDS_BETWEEN_REPORTS:
                return
            reported = now
            with self._lock:
                if number == self._number:
                    progress(fraction)

        return report

    def _finish(self, number: int, task: TaskT, result: ResultT | BaseException) -> ResultT | BaseException:
        try:
            return self._delivered(task, result)
        finally:
            if number == self._number:
                self._task = None
                self._finished.set()

    def _delivered(self, task: TaskT, result: ResultT | BaseException) -> ResultT | BaseException:
        try:
            self._deliver(task, result)
        except BaseException as error:
            self._deliver(task, error)
            return error
        return result
