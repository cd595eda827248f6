"""What was made last, kept so that it is not made again; any number of threads may ask."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
MadeT = TypeVar("MadeT")


class LastMade(Generic[KeyT, MadeT]):
    """Things by what they were made of. Those that were asked for longest ago go.

    Args:
        most: how many are kept.

    >>> squares = LastMade[int, int](2)
    >>> squares.of(3, lambda: 9), squares.of(3, lambda: 0)
    (9, 9)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._made: OrderedDict[KeyT, MadeT] = OrderedDict()

    def of(self, key: KeyT, make: Callable[[], MadeT]) -> MadeT:
        """What was made of this, or is made now, without holding up other threads; errors are those of `make`."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            made = self._made.setdefault(key, made)  # another thread may have been quicker
            self._made.move_to_end(key)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        return made
