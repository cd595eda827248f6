"""Calls of a widget's methods by its own parts, which do not keep it alive."""

import weakref
from collections.abc import Callable
from typing import ParamSpec

Arguments = ParamSpec("Arguments")


def weakly(method: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """A function that calls a bound method while its object exists, and does nothing afterwards.

    A widget whose parts hold it strongly cannot be told from one that somebody still uses (`replaced.py`).
    """
    held = weakref.WeakMethod(method)

    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        alive = held()
        if alive is not None:
            alive(*arguments, **options)

    return call
