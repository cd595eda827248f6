"""Locks that the system keeps on open files, and gives up when their process ends, however it ends."""

from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


ARE_AVAILABLE = fcntl is not None
"""Whether this system has such locks."""


def try_lock(file: int | _HasDescriptor, *, shared: bool = False) -> bool:
    """Lock an open file, without waiting.

    Args:
        file: the file, or its descriptor.
        shared: whether several may have the lock, as long as nobody has it alone.

    Returns:
        Whether the lock was got. Where the system has no such locks, nothing is locked, and the result is True.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
