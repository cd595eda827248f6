"""How often an endpoint is asked."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """Spreads requests evenly over time. It never waits itself: it says how long to.

    Args:
        per_minute: how many requests a minute; None: any number.
        clock: the time in seconds.

    >>> limit = RateLimit(60, clock=lambda: 0.0)
    >>> limit.seconds_to_wait(), limit.seconds_to_wait(), limit.seconds_to_wait()
    (0.0, 1.0, 2.0)
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._between = 0.0 if per_minute is None else 60.0 / per_minute
        self._clock = clock
        self._next = clock()

    def seconds_to_wait(self) -> float:
        """How long the next request must wait; its turn is taken."""
        now = self._clock()
        turn = max(self._next, now)
        self._next = turn + self._between
        return turn - now

    def hold(self, seconds: float) -> None:
        """Nobody's turn comes for so long: the endpoint asked for it."""
        self._next = max(self._next, self._clock() + seconds)
