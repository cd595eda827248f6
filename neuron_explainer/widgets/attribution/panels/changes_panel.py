"""The list of what is ablated: each can be switched off and on, and removed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import ipywidgets as widgets

from neuron_explainer.views.attribution.changes import change_html
from neuron_explainer.widgets.parts import button
from neuron_explainer.widgets.quiet import Quiet


@dataclass(frozen=True)
class ShownChange:
    """One change as the list shows it.

    Attributes:
        label: the node and its value, in words.
        before, after: the metric without and with it, on top of those before; None of one that is switched off.
        is_on: whether it takes part.
    """

    label: str
    before: float | None
    after: float | None
    is_on: bool = True


class ChangesPanel(widgets.VBox):
    """The list; hidden while it is empty.

    Args:
        on_switch: called with a change's number when it is switched.
        on_remove: called with a change's number when it is removed.
    """

    def __init__(self, on_switch: Callable[[int], None], on_remove: Callable[[int], None]) -> None:
        self._on_switch, self._on_remove = on_switch, on_remove
        self._quiet = Quiet()
        self.rows: list[_Row] = []
        super().__init__([], layout=widgets.Layout(width="100%", display="none"))
        self.add_class("ne-changes")

    def show(self, changes: Sequence[ShownChange]) -> None:
        """Show these changes. Rows are kept for later, because a closed one would stay in the page's memory."""
        while len(self.rows) < len(changes):
            number = len(self.rows)
            self.rows.append(_Row(partial(self._switched, number), partial(self._on_remove, number)))
            self.children = self.rows
        with self._quiet:
            for number, row in enumerate(self.rows):
                row.layout.display = "" if number < len(changes) else "none"
                if number < len(changes):
                    row.show(changes[number])
        self.layout.display = "" if changes else "none"

    def _switched(self, number: int) -> None:
        if not self._quiet.is_on:
            self._on_switch(number)


class _Row(widgets.HBox):
    """One change: a box to tick, what it does, and a button that removes it."""

    def __init__(self, on_switch: Callable[[], None], on_remove: Callable[[], None]) -> None:
        self.is_on = widgets.Checkbox(indent=False, layout=widgets.Layout(width="auto", flex="0 0 auto"))
        self.text = widgets.HTML()
        self.remove = button("Remove", "times", "Take this ablation out")
        self.is_on.observe(lambda _: on_switch(), names="value")
        self.remove.on_click(lambda _: on_remove())
        super().__init__([self.is_on, self.text, self.remove], layout=widgets.Layout(align_items="center"))

    def show(self, change: ShownChange) -> None:
        """Show a change."""
        self.is_on.description, self.is_on.value = change.label, change.is_on
        self.text.value = change_html(change.label, change.before, change.after, change.is_on)
        self.remove.tooltip = f"Remove {change.label}"
