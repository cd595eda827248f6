"""Clicks, keys and notices on a whole page of a viewer."""

from __future__ import annotations

from collections.abc import Iterable

import traitlets

from neuron_explainer.widgets.modules.module_widget import ModuleWidget, bundle

PAGE_SHORTCUTS = ("ask", "back", "forward")
"""What the keys of the page of an attribution do."""

VIEWER_SHORTCUTS = ("next", "previous", "layer_up", "layer_down", "random", "bookmark")
"""What the keys of a viewer of neurons do."""


class PageModule(ModuleWidget):
    """Makes the nodes and tokens of the page around it clickable, and reachable by keys; shows nothing itself.

    The page is the next element around the module that has the class `ne-attribution-viewer` or `ne-viewer`. Elements
    of its HTML that `node_mark` and `token_mark` (`views/attribution/cells.py`) have marked can be clicked.

    `on_action` is called with "open" and a node's name, "token" and a token's position, or one of `shortcuts` and "".
    Keys are taken only while the focus is in the page, and not from fields, lists and sliders:

    - "next", "previous", "layer_up", "layer_down": the arrows right, left, up and down; not on nodes and tokens,
      between which they move. While one is held, the next action is sent when the last one has been taken.
    - "random": r. "bookmark": b. Held keys send them once.
    - "back", "forward": Alt with an arrow. "ask": Ctrl+Enter in an element of the class `ne-ask`.

    `/` goes to the first visible field with the class `ne-filter`, and `?` shows all keys that the page has.

    Args:
        shortcuts: the actions that the page offers, of those above. Others are not sent, and not taken if they are.
        label: the name of the page, for screen readers.

    Attributes:
        shortcuts: as given.
        label: as given.
        taken: as in `ModuleWidget`.

    An example, at the end of a viewer's parts:

        module = PageModule(VIEWER_SHORTCUTS, "Neurons")
        module.on_action(weakly(self._acted))  # _acted(kind, node)
        parts.append(module_box(module))
    """

    _esm = bundle("page")
    _kinds = frozenset({"open", "token"})

    shortcuts = traitlets.Tuple().tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self, shortcuts: Iterable[str] = PAGE_SHORTCUTS, label: str = "Why A rather than B?", **traits: object
    ) -> None:
        offered = tuple(shortcuts)
        self._kinds_without_node = frozenset(offered)  # its own, since the front end can set what is synchronised
        super().__init__(shortcuts=offered, label=label, **traits)
