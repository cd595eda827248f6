"""What the frontend modules have in common: messages of a user's actions, each answered by its number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import ipywidgets as widgets
import traitlets

from neuron_explainer.widgets.weak_calls import weakly
from neuron_explainer.wording import as_valid_text

STATIC = Path(__file__).with_name("static")
"""The folder of the bundled modules, which `tools/widget_modules` makes."""

_LONGEST_NODE = 200  # characters; longer than the name of any node


def bundle(name: str) -> str:
    """The text of a bundled module. (anywidget would watch a path, and so keep every widget alive.)"""
    return (STATIC / f"{name}.js").read_text(encoding="utf-8")


class ModuleWidget(anywidget.AnyWidget):
    """A widget whose view sends a user's actions.

    A message is `{"kind": …, "node": …, "number": …}`. What the page sends is not trusted: other messages are ignored.

    Attributes:
        taken: the number of the last message that arrived. The view says that the kernel is busy while a message of
            its own waits.
    """

    _kinds: ClassVar[frozenset[str]] = frozenset()
    _kinds_without_node: frozenset[str] = frozenset()

    taken = traitlets.Int(0).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._actions = widgets.CallbackDispatcher()
        super().__init__(**traits)
        self.on_msg(weakly(self._take))

    def on_action(self, callback: Callable[[str, str], None], remove: bool = False) -> None:
        """Call a function with the kind and the node of each action; the node is "" where the kind has none.

        Args:
            callback: the function.
            remove: do not call it any more.
        """
        self._actions.register_callback(callback, remove=remove)

    def _take(self, _widget: widgets.Widget, content: Any, _buffers: Any) -> None:
        action = _read(content)
        if action is None or action[0] not in self._kinds | self._kinds_without_node:
            return
        kind, node, number = action
        if bool(node) is (kind in self._kinds_without_node):
            return
        self.taken = number  # first, so that the view knows before the work begins
        self._actions(kind, node)


def _read(content: object) -> tuple[str, str, int] | None:
    """The kind, the node and the number of a message; None if it is not one."""
    if not isinstance(content, dict):
        return None
    match content.get("kind"), content.get("node", ""), content.get("number"):
        case str(kind), str(node), int(number) if not isinstance(number, bool):
            if len(node) <= _LONGEST_NODE and as_valid_text(node) == node:
                return kind, node, number
    return None
