"""The widgets of a page, and the calls that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import ipywidgets as widgets

from neuron_explainer.attribution.exploring.examples import examples_for
from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.errors import TokenizerError
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.widgets.attribution.page_style import style_widget
from neuron_explainer.widgets.attribution.panels.ask_panel import AskPanel
from neuron_explainer.widgets.attribution.panels.changes_panel import ChangesPanel
from neuron_explainer.widgets.attribution.panels.node_panel import NodePanel
from neuron_explainer.widgets.attribution.panels.section_panel import SectionPanel
from neuron_explainer.widgets.attribution.panels.status_bar import StatusBar
from neuron_explainer.widgets.attribution.panels.table_panel import TablePanel
from neuron_explainer.widgets.attribution.typed import Typed
from neuron_explainer.widgets.attribution.work.asked_check import asked_html
from neuron_explainer.widgets.attribution.work.table_choice import TableChoice
from neuron_explainer.widgets.busy_kernel import waiting_note
from neuron_explainer.widgets.keep_panel import KeepPanel
from neuron_explainer.widgets.modules.box import module_box
from neuron_explainer.widgets.modules.page import PageModule
from neuron_explainer.widgets.parts import filling

Call = Callable[[], None]


@dataclass(frozen=True)
class Calls:
    """What the controls call. None of them keeps the page alive.

    Attributes:
        asked: a person asks what is typed.
        back, forward, stop, leave_trace, compared: a button or box of the status line was used.
        switched, removed: a change, by its number.
        section_chosen, table_chosen: another picture; or other rows, and whether that is still typed.
        opened, ablated, traced, verified: a button of the node.
        acted: an action of the front end's module, with a node's name.
        noted, saved: the notes changed; the page is to be saved at a path.
    """

    asked: Callable[[Typed], None]
    back: Call
    forward: Call
    stop: Call
    leave_trace: Call
    compared: Call
    switched: Callable[[int], None]
    removed: Callable[[int], None]
    section_chosen: Call
    table_chosen: Callable[[bool], None]
    opened: Call
    ablated: Call
    traced: Call
    verified: Call
    acted: Callable[[str, str], None]
    noted: Call
    saved: Callable[[str], None]


class PageParts:
    """The widgets.

    Args:
        model: the model.
        first: what is asked first.
        calls: what the controls call.
        has_module: whether the front end's module is used where it can be loaded.
    """

    def __init__(self, model: ModelContext, first: Exploration, calls: Calls, has_module: bool) -> None:
        check = partial(asked_html, model, first)
        self.ask_panel = AskPanel(Typed.of(first), examples_for(model), _has_chats(model), check, calls.asked)
        self.status = StatusBar(calls.back, calls.forward, calls.stop, calls.leave_trace, calls.compared)
        self.changes = ChangesPanel(calls.switched, calls.removed)
        self.top = widgets.HTML(layout=filling())
        self.sections = SectionPanel(calls.section_chosen)
        self.table = TablePanel(TableChoice(), calls.table_chosen, calls.acted, has_module)
        self.node_panel = NodePanel(calls.opened, calls.ablated, calls.traced, calls.verified)
        self.keep = KeepPanel(calls.noted, calls.saved)
        self._has_module = has_module
        self._on_action = calls.acted

    def in_order(self) -> list[widgets.Widget]:
        """All of them, from top to bottom."""
        parts = [style_widget(), _heading("Question"), self.ask_panel]
        parts += [_heading("Answer"), self.status, self.changes, self.top]
        parts += [_heading("Pictures"), self.sections, _heading("Nodes"), self.table, self.status.echo]
        parts += [_heading("One node"), self.node_panel, _heading("Keep"), self.keep, waiting_note()]
        if self._has_module:
            module = PageModule()
            module.on_action(self._on_action)
            parts.append(module_box(module))
        return parts


def _has_chats(model: ModelContext) -> bool:
    """Whether the model takes messages."""
    try:
        return model.tokenizer.chat_template is not None
    except TokenizerError:  # it has no tokenizer, and takes token ids alone
        return False


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f'<div role="heading" aria-level="2" class="ne-heading">{text}</div>')
