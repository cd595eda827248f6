"""Constructors whose arguments are named: a wrong call is answered with the right one."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import starmap
from typing import Any, TypeVar

from neuron_explainer.errors import MisconfiguredError, UnknownArgumentError, shown

ClassT = TypeVar("ClassT")


def named_arguments(
    name_of: Callable[[Any], str | None] = lambda value: None, *, formerly_in_order: bool = False
) -> Callable[[type[ClassT]], type[ClassT]]:
    """A decorator for a class whose constructor takes arguments by name alone.

    Args:
        name_of: the argument that a value given without a name must be; None if the value does not tell.
        formerly_in_order: take values without names in the order of the arguments, with a DeprecationWarning.

    The constructor then raises:
        UnknownArgumentError: an argument does not exist; the error names the nearest ones.
        MisconfiguredError: a value was given without its name.
    """

    def decorated(cls: type[ClassT]) -> type[ClassT]:
        make = cls.__init__
        names = _names_of(cls)

        @functools.wraps(make)
        def __init__(self: Any, *values: Any, **named: Any) -> None:
            refuse_unknown(cls.__name__, named, names)
            if values:
                guess = name_of(values[0])
                if guess is not None or not formerly_in_order or len(values) > len(names):
                    example = _example(guess or names[0], values[0])
                    raise MisconfiguredError(
                        f"{cls.__name__} takes arguments by name. Write {cls.__name__}({example})."
                    )
                in_order = dict(zip(names, values, strict=False))
                twice = [name for name in in_order if name in named]
                if twice:
                    raise MisconfiguredError(f"{cls.__name__} got {twice[0]} twice. Give it once, by name.")
                advice = ", ".join(starmap(_example, in_order.items()))
                message = f"{cls.__name__} will take arguments by name alone. Write {cls.__name__}({advice})."
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                named = {**in_order, **named}
            make(self, **named)

        cls.__init__ = __init__  # type: ignore[method-assign]
        return cls

    return decorated


def _example(name: str, value: object) -> str:
    """The argument as a caller writes it; a short word stands for an object."""
    return f"{name}={shown(value) if isinstance(value, str | int | float) else name.partition('_')[0]}"


def _names_of(cls: type) -> list[str]:
    """A constructor's arguments; a dataclass's fields, where the constructor takes them as `**given`."""
    parameters = list(inspect.signature(cls).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return list(getattr(cls, "__dataclass_fields__", {}))
    return [parameter.name for parameter in parameters]


def refuse_unknown(called: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse arguments that do not exist.

    Raises:
        UnknownArgumentError: one in `given` does not exist; the error names the nearest ones.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise UnknownArgumentError(called, name, known)
