"""Who refers to a widget: ipywidgets, IPython's history, the boxes that it is in; and whether anybody else does."""

import re
import sys
import weakref
from typing import Any

import ipywidgets as widgets

Held = weakref.ref[Any]
"""A widget, without a reference that would count."""

_HISTORY_NAME = re.compile(r"_\d+|_{1,3}")


def ipython_shell() -> Any:
    """IPython's shell; None outside of IPython."""
    from IPython.core.getipython import get_ipython

    return get_ipython()


def open_widgets() -> dict[str, widgets.Widget]:
    """What ipywidgets holds, by model id."""
    return getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", {})


def is_open(held: Held) -> bool:
    """Whether a widget exists and is not closed."""
    widget = held()
    return widget is not None and widget.comm is not None


def boxes_around(held: Held) -> list[Held]:
    """The open boxes that a widget is in, and those that these are in."""
    found: list[Held] = []
    inner = [held]
    while inner:
        outer = [box for box in _boxes_of(inner.pop()) if box not in found]
        found += outer
        inner += outer
    return found


def _boxes_of(held: Held) -> list[Held]:
    widget = held()
    return [
        weakref.ref(box)
        for box in list(open_widgets().values())
        if isinstance(box, widgets.Box) and any(child is widget for child in box.children)
    ]


def is_in_use(held: Held, n_besides: int = 0) -> bool:
    """Whether more refers to a widget than ipywidgets, IPython's history, the boxes that it is in, and so many more."""
    widget = held()
    if widget is None or widget.comm is None:
        return False
    handler = getattr(widget.comm, "_msg_callback", None)
    known = (
        n_besides
        + int(open_widgets().get(widget.model_id) is widget)
        + int(getattr(handler, "__self__", None) is widget)
    )
    known += sum(value is widget for value in _history())
    known += sum(_n_times_in(box, held) for box in _boxes_of(held))
    del widget, handler
    return references(held) > known


def _n_times_in(box: Held, held: Held) -> int:
    around, widget = box(), held()
    return 0 if around is None else sum(child is widget for child in around.children)


def _history() -> list[object]:
    """The results that IPython keeps, as often as it keeps them."""
    shell = ipython_shell()
    if shell is None:
        return []
    kept = list(shell.user_ns.get("_oh", {}).values())
    for names in (shell.user_ns, getattr(shell, "user_ns_hidden", {})):
        kept += [value for name, value in list(names.items()) if _HISTORY_NAME.fullmatch(name)]
    kept += [getattr(shell.displayhook, name, None) for name in ("_", "__", "___")]
    return [*kept, getattr(getattr(shell, "last_execution_result", None), "result", None)]


class _Probe:
    """An object that is referred to once."""


def references(held: Held) -> int:
    """How many references to an object there are, apart from those of this function."""
    probe = [_Probe()]
    return _counted(held) - _counted(weakref.ref(probe[0])) + 1


def _counted(held: Held) -> int:
    found = held()
    return sys.getrefcount(found)
