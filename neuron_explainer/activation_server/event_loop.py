"""Coroutines where nobody can await: run to their end, whether or not an event loop runs in this thread.

In a notebook an event loop does run, and `asyncio.run` refuses. `run_coroutine` has a loop of its own, in a thread of
its own, and leaves the notebook's alone.
"""

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from neuron_explainer.errors import InvalidRequestError

T = TypeVar("T")


@functools.cache
def _background_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="neuron_explainer event loop", daemon=True).start()
    return loop


_LOCK = threading.Lock()


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, or raises; this thread waits for it.

    An interrupt (Ctrl-C, or a notebook's stop button) cancels the coroutine.

    Raises:
        InvalidRequestError: it was called from within a coroutine that it runs itself, which would wait for ever.
    """
    with _LOCK:
        loop = _background_loop()
    if _is_running_here(loop):
        coroutine.close()
        raise InvalidRequestError("run_coroutine was called by a coroutine that it runs: await the inner one instead.")
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def allow_nested_event_loops() -> None:
    """Let the loop that runs in this thread be entered again, by nest_asyncio. Nothing in this library calls this.

    It is for one case alone: a coroutine that is bound to the notebook's own loop (it uses a lock, a queue or a session
    that was made there) and must be run to its end by `loop.run_until_complete` from a cell. Anything else: await it,
    or use `run_coroutine`.

    Beware: while a nested `run_until_complete` waits in a Jupyter kernel, cells that are queued and messages of widgets
    are lost without a word. There is no way back but to restart the kernel.
    """
    import nest_asyncio

    nest_asyncio.apply()
