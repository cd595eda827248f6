"""What a widget leaves in a saved notebook: static HTML, out of sight while the widget lives."""

from typing import Any

import ipywidgets as widgets

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class SnapshotDisplay:
    """Shows a widget, and beside it a static copy that takes its place when the notebook is read without a kernel.

    The copy is an output of its own, since a front end that knows widgets but has lost this one shows an error for an
    output that holds both. While the widget is on the page, CSS hides the copy; when it is not, the copy hides the
    error. `update` replaces the copy in the notebook by what is on view then.

    Args:
        widget: the widget; it gets a CSS class of its own.
    """

    def __init__(self, widget: widgets.DOMWidget) -> None:
        self._widget = widget
        self._name = f"ne-{widget.model_id}"
        widget.add_class(self._name)
        self._is_shown = False

    def show(self, html: str) -> None:
        """Display the widget and the copy, in a notebook."""
        from IPython.display import display

        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        display({"text/plain": repr(self._widget), WIDGET_VIEW: view}, raw=True)
        display(self._bundle(html), raw=True, display_id=self._name)
        self._is_shown = True

    def update(self, html: str) -> None:
        """Replace the copy, wherever it is displayed."""
        if not self._is_shown:
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
