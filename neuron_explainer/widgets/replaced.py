"""Closing of widgets that a cell has replaced by running again.

`ipywidgets` holds every widget until it is closed, and IPython every displayed result. So a widget would live on after
its cell has run again, with its page removed. Such a widget is closed if nobody can reach it: it is on view in no other
cell, alone or in a box, and nothing but `ipywidgets`, IPython's history and such boxes refers to it. The boxes are
closed with it.
"""

import weakref
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as widgets

from neuron_explainer.widgets.references import (
    Held,
    boxes_around,
    ipython_shell,
    is_in_use,
    is_open,
    open_widgets,
)
from neuron_explainer.widgets.snapshot import finish_copies

_ELSEWHERE = "elsewhere"
"""A place that no later run of a cell is known to clear, such as an Output widget."""


@dataclass
class _Watched:
    """A widget, and the cells that show it: by cell, the number of the run that displayed it.

    `made_in` is the run in which it was made; None for a box, which is closed only with a widget that it holds.
    """

    widget: Held
    made_in: int | None
    places: dict[object, int] = field(default_factory=dict)


class _Runs:
    """The runs of cells, and the widgets that were made or displayed in them."""

    def __init__(self) -> None:
        self.watched: list[_Watched] = []
        self.number = 1
        self.is_inside = True  # the first widget is made within a cell, before its events can be listened to

    def listen(self) -> None:
        """Hear of the cells that run, and of the boxes that are displayed, if this is IPython."""
        shell = ipython_shell()
        if shell is not None:
            shell.events.register("pre_run_cell", self.before_cell)
            shell.events.register("post_run_cell", self.after_cell)
            formatter = shell.display_formatter.mimebundle_formatter
            if widgets.Box not in formatter.type_printers:  # what the user registered stays
                formatter.for_type(widgets.Box, _box_displayed)

    def before_cell(self, info: Any = None) -> None:
        """A cell begins."""
        self.number += 1
        self.is_inside = True

    def after_cell(self, result: Any = None) -> None:
        """A cell has ended: what its earlier run showed is no longer on view, and static copies are up to date."""
        finish_copies()
        self.is_inside = False
        info = getattr(result, "info", None)
        # A front end without cell ids leaves the cell's text to tell it by.
        cell = getattr(info, "cell_id", None) or getattr(info, "raw_cell", None) or _ELSEWHERE
        for watched in self.watched:
            if watched.places.pop(None, None) is not None:
                watched.places[cell] = self.number
            elif cell != _ELSEWHERE and watched.places.get(cell, self.number) != self.number:
                del watched.places[cell]
        candidates = [each for each in self.watched if each.made_in not in (None, self.number) and not each.places]
        # All are found before one is closed, because a box may hold several.
        for held in [held for watched in candidates for held in self._replaced(watched.widget)]:
            _close(held)
        self.watched = [each for each in self.watched if is_open(each.widget)]

    def _replaced(self, held: Held) -> list[Held]:
        """A widget and the boxes around it, if they are on view nowhere and out of reach; else nothing."""
        around = boxes_around(held)
        known = [watched for watched in self.watched if watched.widget in around]
        # Boxes that were displayed before anything was watched may be on view.
        is_gone = (bool(known) or not around) and not any(watched.places for watched in known)
        return [held, *around] if is_gone and not any(map(is_in_use, [held, *around])) else []

    def display(self, widget: widgets.DOMWidget) -> None:
        """Note that a widget is displayed now."""
        watched = next((each for each in self.watched if each.widget() is widget), None)
        if watched is None:
            watched = _Watched(weakref.ref(widget), None)
            self.watched.append(watched)
        is_in_cell = self.is_inside and not _is_captured()
        watched.places[None if is_in_cell else _ELSEWHERE] = self.number


_RUNS = _Runs()


def watch(widget: widgets.DOMWidget) -> None:
    """Close a widget once its cell has replaced it."""
    _RUNS.listen()
    _RUNS.watched.append(_Watched(weakref.ref(widget), _RUNS.number))


def displayed(widget: widgets.DOMWidget) -> None:
    """Note that a widget is displayed now."""
    _RUNS.display(widget)


def _box_displayed(box: widgets.Box) -> Any:
    """What IPython shows of a box, which is noted; a viewer in it is on view with it."""
    displayed(box)
    return box._repr_mimebundle_()


def _close(held: Held) -> None:
    """Close a widget, and its layout if that is its own."""
    widget = held()
    if widget is None or widget.comm is None:
        return
    layout = weakref.ref(widget.layout)
    is_shared = is_in_use(layout, n_besides=1)
    widget.close()
    if not is_shared and (own := layout()) is not None:
        own.close()


def _is_captured() -> bool:
    """Whether an Output widget receives what is displayed now."""
    return any(isinstance(widget, widgets.Output) and widget.msg_id for widget in list(open_widgets().values()))
