"""Background work in which only the latest task counts."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_INTERRUPTIONS = (KeyboardInterrupt, SystemExit)


class LatestOnly(Generic[TaskT, ResultT]):
    """Runs tasks in threads. A task is dropped, at any stage, as soon as a later one is submitted.

    Threads keep the notebook's kernel free while a slow server answers. No event loop is needed.

    Every exception is delivered, `BaseException`s too: a package written in Rust panics with one, and a thread that
    ended without a word would leave its widget waiting.

    Args:
        work: computes the result of a task; called in a thread. Its exceptions are delivered.
        deliver: called in that thread with the task and its result or exception; never for two tasks at the same time,
            and never for a dropped task. If it fails on a result, it is called with that failure.
    """

    def __init__(
        self, work: Callable[[TaskT], ResultT], deliver: Callable[[TaskT, ResultT | BaseException], None]
    ) -> None:
        self._work = work
        self._deliver = deliver
        self._lock = threading.RLock()  # held while delivering; `deliver` may submit another task
        self._number = 0
        self._finished = threading.Event()
        self._finished.set()

    def submit(self, task: TaskT, pause: float = 0.0) -> None:
        """Run a task in the background, unless another one is submitted within `pause` seconds."""
        number = self._begin()
        threading.Thread(target=self._run_task, args=(number, task, pause), daemon=True).start()

    def run(self, task: TaskT) -> None:
        """Run a task now, in this thread.

        Raises:
            KeyboardInterrupt, SystemExit: the task was interrupted; delivered, too.
        """
        result = self._run_task(self._begin(), task, 0.0)
        if isinstance(result, _INTERRUPTIONS):
            raise result

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the latest task is finished. Returns whether it is."""
        return self._finished.wait(timeout)

    def _begin(self) -> int:
        with self._lock:
            self._number += 1
            self._finished.clear()
            return self._number

    def _run_task(self, number: int, task: TaskT, pause: float) -> ResultT | BaseException | None:
        """Run and deliver a task. Returns what was delivered; None for a dropped task."""
        if pause:
            time.sleep(pause)
            if number != self._number:
                return None
        result: ResultT | BaseException
        try:
            result = self._work(task)
        except BaseException as error:  # any error is shown in the widget
            result = error
        with self._lock:
            if number != self._number:
                return result if isinstance(result, _INTERRUPTIONS) else None
            try:
                return self._delivered(task, result)
            finally:
                if number == self._number:
                    self._finished.set()

    def _delivered(self, task: TaskT, result: ResultT | BaseException) -> ResultT | BaseException:
        try:
            self._deliver(task, result)
        except BaseException as error:
            self._deliver(task, error)
            return error
        return result
