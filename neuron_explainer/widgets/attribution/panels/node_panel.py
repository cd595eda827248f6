"""The node that a person has chosen, and what can be done with it."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from neuron_explainer.widgets.messages import hint_message
from neuron_explainer.widgets.parts import button, filling, flexible, wrapped

ZERO, MEAN, NUMBER, OTHER = "zero", "its mean", "a number", "the 2nd prompt's"
_NONE = "No node is open. Choose one in the table or a picture, or write its name."
_THROUGH = ("q and k", "q", "k", "v")


class NodePanel(widgets.VBox):
    """A field for the node's name, and buttons that open, ablate, trace and verify it.

    Args:
        on_open, on_ablate, on_trace, on_verify: called when a button is clicked.
    """

    def __init__(
        self,
        on_open: Callable[[], None],
        on_ablate: Callable[[], None],
        on_trace: Callable[[], None],
        on_verify: Callable[[], None],
    ) -> None:
        self.node = widgets.Combobox(
            description="Node", placeholder="L2H3, L2H3@5<-1, L1N339@11", layout=flexible("330px"), ensure_option=False
        )
        self.everywhere = widgets.Checkbox(
            description="at all tokens", indent=False, layout=widgets.Layout(width="auto", margin="2px 12px 2px 4px")
        )
        self.opens = button("Open", "search", "Show all that is known of this node")
        self.value = widgets.Dropdown(
            options=[ZERO, MEAN, NUMBER, OTHER], description="to", layout=flexible("220px"), style=_NARROW
        )
        self.number = widgets.FloatText(description="number", layout=flexible("150px", display="none"), style=_NARROW)
        self.ablate = button("Ablate", "ban", "Ask again with this node overwritten")
        self.through = widgets.Dropdown(
            options=_THROUGH, description="through", layout=flexible("170px"), style={"description_width": "56px"}
        )
        self.downstream = widgets.Combobox(
            description="read by",
            placeholder="the metric",
            layout=flexible("230px", display="none"),
            style={"description_width": "56px"},
            ensure_option=False,
        )
        self.trace = button("Trace", "level-up", "Ask where this node's activation comes from")
        self.verify = button("Verify", "check", "Compare the estimate with what happens when the node is taken out")
        self.details = widgets.HTML(hint_message(_NONE), layout=filling())
        self.record = widgets.VBox([], layout=filling())
        self.value.observe(lambda _: self._value_chosen(), names="value")
        self.through.observe(lambda _: self._through_chosen(), names="value")
        for each, handler in (
            (self.opens, on_open),
            (self.ablate, on_ablate),
            (self.trace, on_trace),
            (self.verify, on_verify),
        ):
            each.on_click(lambda _, handler=handler: handler())
        first = widgets.HBox([self.node, self.everywhere, self.opens, self.verify], layout=wrapped())
        ablate = widgets.HBox([self.ablate, self.value, self.number], layout=wrapped())
        trace = widgets.HBox([self.trace, self.through, self.downstream], layout=wrapped())
        super().__init__(
            [first, widgets.HBox([ablate, trace], layout=wrapped()), self.details, self.record],
            layout=widgets.Layout(width="100%"),
        )
        ablate.layout.width = trace.layout.width = "auto"
        self.add_class("ne-node-panel")

    @property
    def asked_value(self) -> float | str:
        """The value that a node is overwritten with, as a Change takes it."""
        values: dict[str, float | str] = {ZERO: 0.0, MEAN: "mean", OTHER: "other"}
        return values.get(self.value.value, float(self.number.value))

    @property
    def asked_through(self) -> str:
        """What a head is traced through: "qk", "q", "k" or "v"."""
        return "qk" if self.through.value == _THROUGH[0] else str(self.through.value)

    def suggest(self, names: Sequence[str]) -> None:
        """The names that the fields offer."""
        self.node.options = self.downstream.options = list(names)

    def _value_chosen(self) -> None:
        self.number.layout.display = "" if self.value.value == NUMBER else "none"

    def _through_chosen(self) -> None:
        self.downstream.layout.display = "" if self.through.value == "v" else "none"


_NARROW = {"description_width": "46px"}
