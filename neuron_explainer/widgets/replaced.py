"""Closing of widgets that a cell has replaced by running again.

`ipywidgets` holds every widget until it is closed, and IPython every displayed result. So a widget would live on after
its cell has run again, with its page removed. Such a widget is closed if nobody can reach it: it is on view in no other
cell, and nothing but `ipywidgets` and IPython's history refers to it.
"""

import re
import sys
import weakref
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as widgets

_ELSEWHERE = "elsewhere"
"""A place that no later run of a cell is known to clear, such as an Output widget."""
_HISTORY_NAME = re.compile(r"_\d+|_{1,3}")


@dataclass
class _Watched:
    """A widget, and the cells that show it: by cell, the number of the run that displayed it."""

    widget: "weakref.ref[widgets.DOMWidget]"
    made_in: int
    places: dict[object, int] = field(default_factory=dict)


class _Runs:
    """The runs of cells, and the widgets that were made in them."""

    def __init__(self) -> None:
        self.watched: list[_Watched] = []
        self.number = 1
        self.is_inside = True  # the first widget is made within a cell, before its events can be listened to

    def listen(self) -> None:
        """Hear of the cells that run, if this is IPython."""
        shell = _shell()
        if shell is not None:
            shell.events.register("pre_run_cell", self.before_cell)
            shell.events.register("post_run_cell", self.after_cell)

    def before_cell(self, info: Any = None) -> None:
        """A cell begins."""
        self.number += 1
        self.is_inside = True

    def after_cell(self, result: Any = None) -> None:
        """A cell has ended: what its earlier run showed is no longer on view."""
        self.is_inside = False
        info = getattr(result, "info", None)
        # A front end without cell ids leaves the cell's text to tell it by.
        cell = getattr(info, "cell_id", None) or getattr(info, "raw_cell", None) or _ELSEWHERE
        for watched in self.watched:
            if watched.places.pop(None, None) is not None:
                watched.places[cell] = self.number
            elif cell != _ELSEWHERE and watched.places.get(cell, self.number) != self.number:
                del watched.places[cell]
        replaced = []
        for watched in self.watched:
            widget = watched.widget()
            if widget is not None and watched.made_in != self.number and not watched.places:
                replaced.append(watched)
            del widget  # or it would count as a reference
        for watched in replaced:
            if not _is_in_use(watched.widget) and (widget := watched.widget()) is not None:
                widget.close()
                del widget
        self.watched = [each for each in self.watched if _is_open(each.widget)]


_RUNS = _Runs()


def watch(widget: widgets.DOMWidget) -> None:
    """Close a widget once its cell has replaced it."""
    _RUNS.listen()
    _RUNS.watched.append(_Watched(weakref.ref(widget), _RUNS.number))


def displayed(widget: widgets.DOMWidget) -> None:
    """Note that a widget is displayed now."""
    for watched in _RUNS.watched:
        if watched.widget() is widget:
            is_in_cell = _RUNS.is_inside and not _is_captured()
            watched.places[None if is_in_cell else _ELSEWHERE] = _RUNS.number


def _shell() -> Any:
    """IPython's shell; None outside of IPython."""
    from IPython.core.getipython import get_ipython

    return get_ipython()


def _open_widgets() -> dict[str, widgets.Widget]:
    """What ipywidgets holds, by model id."""
    return getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", {})


def _is_captured() -> bool:
    """Whether an Output widget receives what is displayed now."""
    return any(isinstance(widget, widgets.Output) and widget.msg_id for widget in list(_open_widgets().values()))


def _is_open(held: "weakref.ref[widgets.DOMWidget]") -> bool:
    widget = held()
    return widget is not None and widget.comm is not None


def _is_in_use(held: "weakref.ref[widgets.DOMWidget]") -> bool:
    """Whether more refers to a widget than ipywidgets and IPython's history do."""
    widget = held()
    if widget is None or widget.comm is None:
        return False
    handler = getattr(widget.comm, "_msg_callback", None)
    known = int(_open_widgets().get(widget.model_id) is widget) + int(getattr(handler, "__self__", None) is widget)
    known += sum(value is widget for value in _history())
    del widget, handler
    return _references(held) > known


def _history() -> list[object]:
    """The results that IPython keeps, as often as it keeps them."""
    shell = _shell()
    if shell is None:
        return []
    kept = list(shell.user_ns.get("_oh", {}).values())
    for names in (shell.user_ns, getattr(shell, "user_ns_hidden", {})):
        kept += [value for name, value in list(names.items()) if _HISTORY_NAME.fullmatch(name)]
    kept += [getattr(shell.displayhook, name, None) for name in ("_", "__", "___")]
    return [*kept, getattr(getattr(shell, "last_execution_result", None), "result", None)]


class _Probe:
    """An object that is referred to once."""


def _references(held: "weakref.ref[Any]") -> int:
    """How many references to an object there are, apart from those of this function."""
    probe = [_Probe()]
    return _counted(held) - _counted(weakref.ref(probe[0])) + 1


def _counted(held: "weakref.ref[Any]") -> int:
    found = held()
    return sys.getrefcount(found)
