"""Controls that are set by their own page, in one thread, while a person may use them in another."""

import threading
from types import TracebackType


class Quiet:
    """Within this context, what this thread sets is not taken for a person's choice. Other threads' changes are.

    >>> quiet = Quiet()
    >>> with quiet:
    ...     quiet.is_on
    True
    >>> quiet.is_on
    False
    """

    def __init__(self) -> None:
        self._own = threading.local()

    @property
    def is_on(self) -> bool:
        """Whether this thread is within the context."""
        return self._depth > 0

    @property
    def _depth(self) -> int:
        return getattr(self._own, "depth", 0)

    def __enter__(self) -> None:
        self._own.depth = self._depth + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own.depth = self._depth - 1
