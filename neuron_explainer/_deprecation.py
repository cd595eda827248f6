"""Names that moved keep working for a while, and say where they are now."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved_names(module: str, new_home_by_name: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` for names that have moved: each is found at its new home, with a DeprecationWarning.

        __getattr__ = moved_names(__name__, {"Setting": "neuron_explainer.activations.bound_config:BoundConfig"})

    Args:
        module: the module that the names were in, its `__name__`.
        new_home_by_name: the "module:name" of each old name's new home.
    """

    def __getattr__(name: str) -> Any:
        if name not in new_home_by_name:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new_name = new_home_by_name[name].partition(":")
        warnings.warn(
            f"{module}.{name} has moved: use {home}.{new_name}. The old name will be removed in a later version.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(home), new_name)

    return __getattr__


def deprecated_argument(old: str, new: str, options: dict[str, Any]) -> None:
    """Take an argument under its old name: it becomes `options[new]`, with a DeprecationWarning.

    Args:
        old: the name that callers may still use.
        new: the name that the function knows.
        options: the keyword arguments that a function was given; changed in place.

    Raises:
        TypeError: both names were given.
    """
    if old not in options:
        return
    if new in options:
        raise TypeError(f"{old} is the old name of {new}: give {new} alone.")
    warnings.warn(f"The argument {old} is now called {new}.", DeprecationWarning, stacklevel=3)
    options[new] = options.pop(old)
