"""Public names that are imported on first use, by one thread at a time."""

import os
import threading
from collections.abc import Callable
from typing import Any

import lazy_loader


class _Lock:
    """One lock for all packages.

    Packages such as NumPy import themselves in circles. Two threads that begin at different places of a circle get a
    module that is not ready yet, and an ImportError. No module of this library may need the lock while it is imported:
    see `tests/project/test_layout.py`.
    """

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)  # the thread that held it does not exist in the child

    def renew(self) -> None:
        """Begin with a lock that nobody holds."""
        self.lock = threading.RLock()


_IMPORTING = _Lock()


def names_of_stub(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the `.pyi` beside its `__init__.py`."""
    exported, directory, names = lazy_loader.attach_stub(package, file)

    def attribute(name: str) -> Any:
        with _IMPORTING.lock:
            return exported(name)

    return attribute, directory, names
