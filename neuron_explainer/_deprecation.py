"""Old names that keep working for a while, with a warning."""

import warnings
from typing import Any


def deprecated_argument(old: str, new: str, options: dict[str, Any]) -> None:
    """Move the keyword argument `old` to `new` in `options`, and warn the code that called the caller.

    Raises:
        TypeError: both were given.

    >>> options = {"checkpoint_seconds": 60.0}
    >>> deprecated_argument("checkpoint_seconds", "save_every_seconds", options)  # warns
    >>> options
    {'save_every_seconds': 60.0}
    """
    if old not in options:
        return
    if new in options:
        raise TypeError(f"{old} is the old name of {new}. Give {new} alone.")
    warnings.warn(f"{old} is now called {new}.", DeprecationWarning, stacklevel=3)
    options[new] = options.pop(old)
