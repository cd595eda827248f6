"""Clicks, keys and notices on a whole page of a viewer."""

from __future__ import annotations

from neuron_explainer.widgets.modules.module_widget import ModuleWidget, bundle


class PageModule(ModuleWidget):
    """Makes the nodes and tokens of the page around it clickable, and reachable by keys; shows nothing itself.

    `on_action` is called with "open" and a node's name, "token" and a token's position, "ask", "back" or
    "forward".
    """

    _esm = bundle("page")
    _kinds = frozenset({"open", "token"})
    _kinds_without_node = frozenset({"ask", "back", "forward"})
