"""The part of a viewer's page that shows one section at a time: which, its controls, and what it shows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import ipywidgets as widgets

from neuron_explainer.widgets.messages import error_message, hint_message
from neuron_explainer.widgets.neurons.sections.asked import (
    OF_HEADS,
    TITLES,
    SectionAnswer,
    SectionName,
    SectionSettings,
)
from neuron_explainer.widgets.neurons.sections.node_list import NodeList
from neuron_explainer.widgets.neurons.sections.panels import (
    AttentionPanel,
    ComparePanel,
    DirectionsPanel,
    ExplanationsPanel,
    NeighboursPanel,
    Panel,
    SearchPanel,
)
from neuron_explainer.widgets.parts import button, wrapped
from neuron_explainer.widgets.quiet import Quiet

_WAITS = {"search": "Write a text and click Search.", "compare": "Write the components beside it, and click Compare."}


@dataclass(frozen=True)
class SectionCalls:
    """What the controls of the sections call.

    Attributes:
        opened: a section is chosen, or a control of its changed.
        went: a person goes to a component, by its name.
        stopped: a person stops what is computed.
        explained: a person keeps an explanation.
        forgot: a person removes an explanation.
    """

    opened: Callable[[], None]
    went: Callable[[str], None]
    stopped: Callable[[], None]
    explained: Callable[[str], None]
    forgot: Callable[[str], None]


class NodeSections(widgets.VBox):
    """One section at a time.

    Args:
        calls: what the controls call.
        examples: the view of the examples, which is the first section.
    """

    def __init__(self, calls: SectionCalls, examples: widgets.Widget) -> None:
        self._calls = calls
        self._quiet = Quiet()
        self.tabs = widgets.ToggleButtons(
            options=_options(False), value="examples", description="", style={"button_width": "auto"}
        )
        self.tabs.add_class("ne-tabs")
        panels: dict[SectionName, Panel] = {
            "directions": DirectionsPanel(calls.opened),
            "neighbours": NeighboursPanel(calls.opened),
            "explanations": ExplanationsPanel(calls.explained, calls.forgot),
            "attention": AttentionPanel(calls.opened),
            "search": SearchPanel(calls.opened),
            "compare": ComparePanel(calls.opened),
        }
        self.panels = panels
        self.nodes = NodeList(calls.went)
        self.stop = button("Stop", "stop", "Stop what is computed", "84px")
        self.stop.layout.display = "none"
        self.stop.on_click(lambda _: calls.stopped())
        self.message = widgets.HTML()
        self.view = widgets.HTML(layout=widgets.Layout(width="100%"))
        self._scrolled = widgets.Box([self.view], layout=widgets.Layout(max_height="860px", overflow="auto"))
        self._examples = examples
        status = widgets.HBox([self.message, self.stop], layout=wrapped(align_items="center"))
        self._body = widgets.VBox([status, self.nodes, self._scrolled], layout=widgets.Layout(width="100%"))
        super().__init__([self.tabs, *panels.values(), self._body, examples], layout=widgets.Layout(width="100%"))
        self._arrange()
        self.tabs.observe(lambda _: self._chosen(), names="value")

    @property
    def section(self) -> SectionName:
        """The section that is chosen."""
        chosen: SectionName = self.tabs.value
        return chosen

    @property
    def settings(self) -> SectionSettings:
        """What the controls of the chosen section say; the defaults of all others."""
        panel = self.panels.get(self.section)
        return SectionSettings() if panel is None else replace(SectionSettings(), **panel.settings())

    @property
    def is_waiting(self) -> bool:
        """Whether the chosen section needs to be told something first."""
        asked = self.settings
        waits = {"search": not asked.query.strip(), "compare": not asked.others}
        return waits.get(self.section, False)

    def choose(self, section: SectionName, settings: SectionSettings | None = None) -> None:
        """Choose a section, and what its controls say, without a call."""
        with self._quiet:
            self.tabs.value = section
        if settings is not None and section in self.panels:
            self.panels[section].choose(settings)
        self._arrange()

    def offer(self, are_heads: bool) -> None:
        """Offer the sections of heads, or of other components."""
        options = _options(are_heads)
        if list(self.tabs.options) != options:
            with self._quiet:
                kept = self.section if self.section in dict(options).values() else "examples"
                self.tabs.options = options
                self.tabs.value = kept
            self._arrange()

    def busy(self) -> None:
        """Say that the section is being computed."""
        self.message.value = hint_message(f"Computing: {TITLES[self.section]} …")
        self.stop.layout.display = ""

    def wait_for_words(self) -> None:
        """Say what the chosen section needs to be told."""
        self.idle(_WAITS[self.section])
        self.view.value = ""
        self.nodes.show((), None)

    def idle(self, said: str = "") -> None:
        """Say that nothing is computed."""
        self.message.value = hint_message(said) if said else ""
        self.stop.layout.display = "none"

    def show(self, answer: SectionAnswer, shown: str | None) -> None:
        """Show what a section answers; `shown` is the name of the component on view."""
        self.idle()
        self.view.value = answer.html
        self.nodes.show(answer.names, shown)
        if self.section == "attention":
            panel = self.panels["attention"]
            assert isinstance(panel, AttentionPanel)
            panel.limit(*answer.texts)

    def attend(self, token: int) -> None:
        """Show the attention of a token, if that section is open."""
        panel = self.panels["attention"]
        if self.section == "attention" and isinstance(panel, AttentionPanel):
            panel.token.value = min(token, panel.token.max)

    def fail(self, error: BaseException) -> None:
        """Show why a section cannot be shown."""
        self.idle()
        self.view.value = ""
        self.nodes.show((), None)
        self.message.value = error_message(error, None)

    def _chosen(self) -> None:
        self._arrange()
        if not self._quiet.is_on:
            self._calls.opened()

    def _arrange(self) -> None:
        for name, panel in self.panels.items():
            panel.layout.display = "" if name == self.section else "none"
        is_examples = self.section == "examples"
        self._body.layout.display = "none" if is_examples else ""
        self._examples.layout.display = "" if is_examples else "none"


def _options(are_heads: bool) -> list[tuple[str, SectionName]]:
    return [(title, name) for name, title in TITLES.items() if are_heads or name not in OF_HEADS]
