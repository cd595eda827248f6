"""Lazy package exports: a package names what it offers, and imports a module when one of its names is asked for."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(
    package: str, module_by_name: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package whose names are imported on first use.

    Args:
        package: the package's `__name__`.
        module_by_name: for each public name, the full name of the module that defines it. A name that maps to a
            module of its own name (`"views": "neuron_explainer.views"`) stands for the module itself.
    """

    def __getattr__(name: str) -> Any:
        if name not in module_by_name:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it offers: {', '.join(__all__)}")
        module = importlib.import_module(module_by_name[name])
        return module if module.__name__ == f"{package}.{name}" else getattr(module, name)

    def __dir__() -> list[str]:
        return __all__

    __all__ = sorted(module_by_name)
    return __getattr__, __dir__, __all__
