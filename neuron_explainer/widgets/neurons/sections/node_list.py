"""The components that a section has found: a list to go to one of them, or through all in turn."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from neuron_explainer.widgets.parts import button, flexible, wrapped


class NodeList(widgets.HBox):
    """A list of names, and buttons that go to the chosen one, the one before and the one after.

    Args:
        on_go: called with a name when a person goes to it.
    """

    def __init__(self, on_go: Callable[[str], None]) -> None:
        self._on_go = on_go
        self.names = widgets.Dropdown(description="Go to", layout=flexible("240px"))
        self.previous = button("Before", "step-backward", "Show the one before in this list")
        self.next = button("After", "step-forward", "Show the one after in this list")
        self.go = button("Show", "eye", "Show the one chosen in this list", "84px")
        self.go.on_click(lambda _: self._chosen())
        self.previous.on_click(lambda _: self._step(-1))
        self.next.on_click(lambda _: self._step(+1))
        super().__init__([self.names, self.go, self.previous, self.next], layout=wrapped(display="none"))

    def show(self, names: Sequence[str], shown: str | None) -> None:
        """Offer names; the one on view is chosen, if it is among them."""
        before = self.names.value
        self.names.options = list(names)
        if names:
            self.names.value = next((name for name in (shown, before) if name in names), names[0])
        self.layout.display = "" if names else "none"

    def mark(self, shown: str) -> None:
        """Choose the one on view, if it is in the list."""
        if shown in self.names.options:
            self.names.value = shown

    def _chosen(self) -> None:
        if self.names.value is not None:
            self._on_go(self.names.value)

    def _step(self, step: int) -> None:
        names = list(self.names.options)
        if names:
            self.names.value = names[(names.index(self.names.value) + step) % len(names)]
            self._chosen()
