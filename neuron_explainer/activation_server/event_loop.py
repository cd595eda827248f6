"""Run coroutines from code that cannot `await`, whether or not an event loop runs in this thread.

A notebook runs an event loop, so `asyncio.run` refuses to start there. `run_coroutine` uses its own loop in its own
thread, and leaves the notebook's loop alone.

The library itself needs neither: `neuron_explainer.load_neuron` and `load_neurons` use no event loop. nest_asyncio,
which patches the notebook's loop for the whole process, is applied only by the opt-in `allow_nested_event_loops`.
"""

import asyncio
import concurrent.futures
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from neuron_explainer.errors import InvalidRequestError

T = TypeVar("T")


@functools.cache
def _background_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="neuron_explainer event loop", daemon=True).start()
    return loop


_LOCK = threading.Lock()
_SECONDS_BETWEEN = 0.05
_LONGEST_GOODBYE = 5.0

if hasattr(os, "register_at_fork"):  # a child process has no thread that runs its parent's loop
    os.register_at_fork(after_in_child=_background_loop.cache_clear)


def run_coroutine(coroutine: Coroutine[Any, Any, T], while_waiting: Callable[[], object] | None = None) -> T:
    """Run a coroutine to its end, and return its result. This thread waits for it.

    An interrupt (Ctrl-C, or the notebook's stop button) cancels the coroutine, and waits for its end for some seconds.

    Args:
        coroutine: what is run.
        while_waiting: called in this thread, some times a second; an error of its own cancels the coroutine, too.

    Raises:
        InvalidRequestError: the caller is itself a coroutine that `run_coroutine` runs; it would wait forever.
        Exception: whatever the coroutine raises.

    >>> async def answer():
    ...     return 42
    >>> run_coroutine(answer())
    42
    """
    with _LOCK:
        loop = _background_loop()
    if _is_running_here(loop):
        coroutine.close()
        raise InvalidRequestError(
            "run_coroutine was called inside a coroutine that it runs itself. Use `await` there instead."
        )
    has_ended = threading.Event()
    future = asyncio.run_coroutine_threadsafe(_telling_its_end(coroutine, has_ended), loop)
    try:
        while while_waiting is not None and not concurrent.futures.wait([future], _SECONDS_BETWEEN).done:
            while_waiting()
        return future.result()
    except BaseException:
        if future.cancel():
            has_ended.wait(_LONGEST_GOODBYE)
        raise


async def _telling_its_end(coroutine: Coroutine[Any, Any, T], has_ended: threading.Event) -> T:
    try:
        return await coroutine
    finally:
        has_ended.set()


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def allow_nested_event_loops() -> None:
    """Apply nest_asyncio: allow the running event loop to be entered again. An opt-in; this library never calls it.

    Use it only for a coroutine that is bound to the notebook's own loop (it uses a lock, a queue or a session created
    there) and that must run to its end in a cell by `loop.run_until_complete`. In all other cases `await` the
    coroutine, or use `run_coroutine`.

    It is an opt-in because nest_asyncio patches asyncio for the whole process: while a nested `run_until_complete`
    waits in a Jupyter kernel, queued cells and messages of widgets are lost silently. Only restarting the kernel undoes
    it.
    """
    import nest_asyncio

    nest_asyncio.apply()
