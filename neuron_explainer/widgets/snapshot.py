"""Static HTML that a widget leaves in a saved notebook, hidden while the widget is alive."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from neuron_explainer.widgets.latest_only import LatestOnly

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

_PAUSE = 0.1
"""Seconds without a change after which the copy is replaced. Nobody waits for it, and a page is painted before it."""

_displayed: "weakref.WeakSet[SnapshotDisplay]" = weakref.WeakSet()


class SnapshotDisplay:
    """Displays a widget together with a static copy, which is shown when the notebook is read without a kernel.

    The copy is an output of its own, because a front end that has lost the widget shows an error for an output that
    contains both. CSS hides the copy while the widget is on the page, and otherwise hides the error.

    Args:
        widget: the widget; it gets a CSS class of its own.
        page: a method of the widget that makes its static HTML.
        failed: called with the error, where the copy could not be made.
        lock: held while the copy is replaced; None: one of its own.
    """

    def __init__(
        self,
        widget: widgets.DOMWidget,
        page: Callable[[], str],
        failed: Callable[[BaseException], None] | None = None,
        lock: "threading.RLock | None" = None,
    ) -> None:
        self._widget_ref = weakref.ref(widget)  # the widget holds this, too
        self._page = weakref.WeakMethod(page)
        self._failed = failed
        self._name = f"ne-{widget.model_id}"
        self._copying: LatestOnly[None, str | None] = LatestOnly(self._made, self._replace, lock=lock)
        widget.add_class(self._name)
        self._is_shown = False

    @property
    def _widget(self) -> widgets.DOMWidget:
        widget = self._widget_ref()
        if widget is None:
            raise ReferenceError("The widget of this copy is gone.")
        return widget

    def show(self) -> None:
        """Display the widget and its static copy in a notebook; the copy alone if the widget is closed."""
        from IPython.display import display

        html = self._made()
        assert html is not None  # the widget is alive
        if self._widget.comm is None:
            display({"text/plain": repr(self._widget), "text/html": html}, raw=True)
            return
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        display({"text/plain": repr(self._widget), WIDGET_VIEW: view}, raw=True)
        display(self._bundle(html), raw=True, display_id=self._name)
        self._is_shown = True
        _displayed.add(self)

    def update(self) -> None:
        """Replace the static copy in the notebook, in the background; before the end of the cell that runs."""
        if self._is_shown and self._widget.comm is not None:
            self._copying.submit(None, _PAUSE)

    def finish(self) -> None:
        """Replace the copy now, if that is still to come."""
        if not self._copying.wait(0):
            self._copying.run(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the copy is replaced. Returns whether it is."""
        return self._copying.wait(timeout)

    def _made(self, _: None = None) -> str | None:
        page = self._page()
        return None if page is None else page()

    def _replace(self, _: None, html: str | BaseException | None) -> None:
        widget = self._widget_ref()
        if widget is None or widget.comm is None:
            return
        if isinstance(html, str):
            from IPython.display import update_display

            update_display(self._bundle(html), raw=True, display_id=self._name)
        elif html is not None and self._failed is not None:
            self._failed(html)

    def _bundle(self, html: str) -> dict[str, Any]:
        copy = f"{self._name}-copy"
        style = (
            f"body:has(.{self._name}) .{copy}{{display:none}}"
            f".jp-OutputArea-child:not(:has(.{self._name})):has(+.jp-OutputArea-child .{copy}){{display:none}}"
        )
        return {
            "text/plain": repr(self._widget),
            "text/html": f'<style>{style}</style><div class="{copy}">{html}</div>',
        }


def finish_copies() -> None:
    """Replace all copies that are still to come: a cell has ended, after which the kernel may end, too."""
    for snapshot in list(_displayed):
        snapshot.finish()
