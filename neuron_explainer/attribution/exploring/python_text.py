"""Python as text: calls, literals, and the names that objects have in the notebook."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from typing import Any

USED_NAMES = frozenset({"ne", "why", "other", "both", "other_prompt"})
"""The names that the code gives something else."""


def call(function: str, *arguments: str, **named: str | None) -> str:
    """A call with arguments that are Python already; named ones that are None are left out.

    >>> call("why.trace", repr("L2H3"), through=repr("q"), downstream=None)
    "why.trace('L2H3', through='q')"
    """
    given = [*arguments, *(f"{name}={text}" for name, text in named.items() if text is not None)]
    return f"{function}({', '.join(given)})"


def literal(value: Any) -> str | None:
    """A value of texts, numbers, lists and mappings as Python; None if it holds something else.

    >>> literal({"a": [1.5, None]}), literal(print)
    ("{'a': [1.5, None]}", None)
    """
    text = repr(value)
    try:
        return text if ast.literal_eval(text) == value else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def name_in_notebook(value: object) -> str | None:
    """The name under which the notebook, or the script, has an object; None if it has none."""
    namespace: Mapping[str, Any] = vars(sys.modules["__main__"])
    for name, found in list(namespace.items()):
        if found is value and name.isidentifier() and not name.startswith("_") and name not in USED_NAMES:
            return name
    return None


def your_own(name: str, what: object) -> str:
    """A comment that says what a name that the code uses must be given. What an object is called stays a literal."""
    text = what if isinstance(what, str) else repr(what)
    return f"# {name} = …  # give your own: {' '.join(repr(text)[1:-1].split())}"
