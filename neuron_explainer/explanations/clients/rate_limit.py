"""How often an endpoint is asked."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """Spreads requests evenly over time. It never waits itself: it says how long to.

    A turn is taken when it has come, and not before: what gives up waiting takes none, and `hold` holds all who wait.

    Args:
        per_minute: how many requests a minute; None: any number.
        clock: the time in seconds.

    >>> limit = RateLimit(60, clock=lambda: 0.0)
    >>> limit.seconds_to_wait(), limit.seconds_to_wait(), limit.seconds_to_wait()
    (0.0, 1.0, 1.0)
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._between = 0.0 if per_minute is None else 60.0 / per_minute
        self._clock = clock
        self._next = clock()

    def seconds_to_wait(self) -> float:
        """How long until a request may be sent; it asks again then. 0: it may be sent now, and its turn is taken."""
        now = self._clock()
        if now < self._next:
            return self._next - now
        self._next = now + self._between
        return 0.0

    def hold(self, seconds: float) -> None:
        """Nobody's turn comes for so long: the endpoint asked for it."""
        self._next = max(self._next, self._clock() + seconds)
