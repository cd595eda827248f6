"""Work in the background of which only the last request counts."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")


class LatestOnly(Generic[Request, Result]):
    """Answers requests in threads; a request that another one has followed is dropped, at whatever stage it is.

    A thread, because a notebook's kernel is busy or between messages when a control changes, and a slow address must
    not hold it up. No event loop is needed.

    Args:
        work: makes a request's result; called in a thread; its exceptions are delivered.
        deliver: called with the request and its result or exception, in that thread, never for two requests at once
            and never for a request that was followed by another.
    """

    def __init__(
        self, work: Callable[[Request], Result], deliver: Callable[[Request, Result | Exception], None]
    ) -> None:
        self._work = work
        self._deliver = deliver
        self._lock = threading.RLock()  # held while delivering, which may submit in turn
        self._number = 0
        self._answered = threading.Event()
        self._answered.set()

    def submit(self, request: Request, pause: float = 0.0) -> None:
        """Answer the request in the background, unless another one comes within `pause` seconds."""
        number = self._begin()
        threading.Thread(target=self._answer, args=(number, request, pause), daemon=True).start()

    def run(self, request: Request) -> None:
        """Answer the request here and now."""
        self._answer(self._begin(), request, 0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the last request is answered; whether it is."""
        return self._answered.wait(timeout)

    def _begin(self) -> int:
        with self._lock:
            self._number += 1
            self._answered.clear()
            return self._number

    def _answer(self, number: int, request: Request, pause: float) -> None:
        if pause:
            time.sleep(pause)
            if number != self._number:
                return
        result: Result | Exception
        try:
            result = self._work(request)
        except Exception as error:  # whatever went wrong is shown where the user looks
            result = error
        with self._lock:
            if number != self._number:
                return
            try:
                self._deliver(request, result)
            finally:
                if number == self._number:
                    self._answered.set()
