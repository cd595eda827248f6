"""Threads that compute for a widget, and end before Python does."""

import atexit
import threading
import time
from collections.abc import Callable

_PATIENCE = 3.0
"""Seconds that Python waits for them at its end; a pass stops after the layer at which it is."""
_running: dict[threading.Thread, threading.Event] = {}
_is_ending = threading.Event()


def start_thread(work: Callable[[], object], stop: threading.Event) -> None:
    """Run work in a thread. Before Python ends, `stop` is set, and the thread waited for.

    Python cuts off other threads when it ends. One that is in torch's code at that moment aborts the whole process.
    """
    if _is_ending.is_set():
        return

    def run() -> None:
        try:
            work()
        finally:
            _running.pop(thread, None)

    thread = threading.Thread(target=run, daemon=True)  # daemon: one that hangs does not keep Python alive
    _running[thread] = stop
    thread.start()


def _end() -> None:
    _is_ending.set()
    until = time.monotonic() + _PATIENCE
    while _running and time.monotonic() < until:
        for thread, stop in list(_running.items()):
            stop.set()
            thread.join(max(0.0, until - time.monotonic()))


atexit.register(_end)
