"""Watch the passes of a thread: how far each is, and an event that stops it.

A stop takes effect after the layer that runs. Like an interrupt it leaves nothing on the model: what takes part in a
pass belongs to that pass.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, no_type_check

from neuron_explainer.errors import StoppedError
from neuron_explainer.models.hooks.owners import Owner

if TYPE_CHECKING:  # widgets use this without torch
    from torch import Tensor

Progress = Callable[[float], object]
"""Told how much of the work is done, from 0 to 1."""


class Watch:
    """What is told of passes and what stops them; `watched_passes` makes one.

    Its methods may be called in another thread while the owner waits: a GPU's backward pass has a thread of its own.
    """

    def __init__(self, progress: Progress | None, stop: threading.Event | None, outer: Watch | None) -> None:
        self.outer = outer
        self.owner: Owner | None = None
        self.has_ended = False
        self._progress = progress
        self._stop = stop
        self._start, self._share = 0.0, 1.0

    @property
    def is_of_running_code(self) -> bool:
        """Whether the code that runs now is within the context. After an interrupt, a context's end may never come."""
        owner = self.owner
        return owner is not None and not self.has_ended and owner.is_within() and owner.is_of_running_task()

    def end(self) -> None:
        """The context has ended. A graph may keep this object for longer, but not what it held."""
        self.has_ended = True
        self.owner = self.outer = self._progress = self._stop = None

    def check(self) -> None:
        """Raise StoppedError if this work, or work that it is part of, is to stop."""
        if self._stop is not None and self._stop.is_set():
            raise StoppedError()
        if self.outer is not None:
            self.outer.check()

    def done(self, fraction: float) -> None:
        """So much of the current part is done, from 0 to 1; errors are those of `check`."""
        if self.has_ended:  # a graph that is differentiated later
            return
        self.check()
        if self._progress is not None:
            self._progress(min(1.0, self._start + self._share * fraction))
            self.check()  # whoever is told may have asked for it

    def at_layer(self, resid: Tensor, n_done: int, n_layers: int) -> None:
        """A pass has done so many layers; where it has a graph, its backward pass is watched from here on, too.

        Args:
            resid: the residual stream after them.
            n_done: how many are done.
            n_layers: how many there are; 0 if the pass ends before the first one.
        """
        if self.has_ended:
            return
        if n_done == 0:
            self.check()
        else:
            self.done(n_done / n_layers)
        if resid.requires_grad and n_done < n_layers:
            resid.register_hook(partial(self._after_gradient, (n_layers - n_done) / n_layers))

    def _after_gradient(self, fraction: float, gradient: Tensor) -> None:
        self.done(fraction)

    @contextmanager
    def part(self, number: int, total: int) -> Iterator[None]:
        """Within it, fractions are those of one of several equal parts of the work."""
        start, share = self._start, self._share
        self._start, self._share = start + share * min(number, total - 1) / total, share / total
        try:
            self.check()
            yield
        finally:
            self._start, self._share = start, share


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


def current_watch() -> Watch | None:
    """The watch over what this thread runs now; None without one."""
    watch = _WATCH.get()
    while watch is not None and not watch.is_of_running_code:
        watch = watch.outer
    return watch


_UNWATCHED = Watch(None, None, None)
_UNWATCHED.end()


def watch_of_pass() -> Watch:
    """The watch over a pass that begins now; one that does nothing if nobody watches."""
    return current_watch() or _UNWATCHED


class watched_passes(AbstractContextManager[None]):
    """Within this context the passes of this thread and asyncio task tell how far they are, and can be stopped.

    Args:
        progress: told a fraction from 0 to 1 after each layer: of a forward pass; then of the backward pass, after each
            layer's gradient. Work of several passes that knows how many they are tells fractions of the whole. Of
            nested contexts the innermost is told.
        stop: as soon as it is set, the pass that runs, and any later one, raises StoppedError. Those of outer contexts
            count, too.

    >>> import neuron_explainer as ne
    >>> model, told = ne.load_model("tiny", device="cpu"), []
    >>> with watched_passes(told.append):
    ...     text = model.generate("Once upon a time", max_new_tokens=1)
    >>> told
    [0.25, 0.5, 0.75, 1.0]
    """

    def __init__(self, progress: Progress | None = None, stop: threading.Event | None = None) -> None:
        self._watch = Watch(progress, stop, None)

    @no_type_check  # a wrapper around this method would be taken for the frame that enters the context
    def __enter__(self) -> None:
        self._watch.outer = current_watch()
        self._watch.owner = Owner(sys._getframe(1))
        _WATCH.set(self._watch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if _WATCH.get() is self._watch:
            _WATCH.set(self._watch.outer)
        self._watch.end()


@contextmanager
def part_of_work(number: int, total: int) -> Iterator[None]:
    """Within it, the passes of watched work are one of several equal parts of it. Unwatched work is not changed.

    Args:
        number: which part, from 0.
        total: how many parts there are.

    Raises:
        StoppedError: the work is to stop.
    """
    watch = current_watch()
    if watch is None:
        yield
        return
    with watch.part(number, total):
        yield


def stop_if_asked() -> None:
    """For watched work between passes.

    Raises:
        StoppedError: the work is to stop.
    """
    if (watch := current_watch()) is not None:
        watch.check()
