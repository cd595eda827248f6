"""Static HTML that a widget leaves in a saved notebook, hidden while the widget is alive."""

import weakref
from typing import Any

import ipywidgets as widgets

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class SnapshotDisplay:
    """Displays a widget together with a static copy, which is shown when the notebook is read without a kernel.

    The copy is an output of its own, because a front end that has lost the widget shows an error for an output that
    contains both. CSS hides the copy while the widget is on the page, and otherwise hides the error. `update` replaces
    the copy in the notebook.

    Args:
        widget: the widget; it gets a CSS class of its own.
    """

    def __init__(self, widget: widgets.DOMWidget) -> None:
        self._widget_ref = weakref.ref(widget)  # the widget holds this, too
        self._name = f"ne-{widget.model_id}"
        widget.add_class(self._name)
        self._is_shown = False

    @property
    def is_shown(self) -> bool:
        """Whether there is a copy in the notebook to replace."""
        return self._is_shown

    @property
    def _widget(self) -> widgets.DOMWidget:
        widget = self._widget_ref()
        if widget is None:
            raise ReferenceError("The widget of this copy is gone.")
        return widget

    def show(self, html: str) -> None:
        """Display the widget and its static copy in a notebook; the copy alone if the widget is closed."""
        from IPython.display import display

        if self._widget.comm is None:
            display({"text/plain": repr(self._widget), "text/html": html}, raw=True)
            return
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        display({"text/plain": repr(self._widget), WIDGET_VIEW: view}, raw=True)
        display(self._bundle(html), raw=True, display_id=self._name)
        self._is_shown = True

    def update(self, html: str) -> None:
        """Replace the static copy in the notebook."""
        if not self._is_shown or self._widget.comm is None:
            return
        from IPython.display import update_display

        update_display(self._bundle(html), raw=True, display_id=self._name)

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
