"""Copies of errors, for pickle, copy and process pools."""

from types import MemberDescriptorType
from typing import Any


def made_again(error_class: type[BaseException], arguments: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    """An error made without its constructor, which may take other arguments than the error keeps."""
    # Of several built-in bases, Python accepts only the __new__ of the one that decides the instance's memory layout.
    built_in: Any = error_class
    while "__module__" in vars(built_in):  # only classes written in Python have it among their own entries
        built_in = built_in.__base__
    error: BaseException = built_in.__new__(error_class)
    error.args = arguments
    for name, value in state.items():
        setattr(error, name, value)
    return error


def state_of(error: BaseException) -> dict[str, Any]:
    """The attributes of an error, those that built-in classes keep outside of `__dict__` included, such as `errno`."""
    names = {
        name
        for built_in in type(error).__mro__
        for name, entry in vars(built_in).items()
        if isinstance(entry, MemberDescriptorType) and not name.startswith("_")
    }
    kept = {name: value for name in sorted(names) if (value := getattr(error, name)) is not None}
    return {**kept, **error.__dict__}
