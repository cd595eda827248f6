"""Buttons that choose a picture of an answer, and the picture."""

from collections.abc import Callable

import ipywidgets as widgets

from neuron_explainer.widgets.attribution.work.sections import Section, SectionChoice
from neuron_explainer.widgets.parts import filling, flexible, wrapped
from neuron_explainer.widgets.quiet import Quiet


class SectionPanel(widgets.VBox):
    """Buttons that choose a picture, the fields of some pictures, and the picture.

    Args:
        on_choice: called when a person chooses another.
    """

    def __init__(self, on_choice: Callable[[], None]) -> None:
        self._on_choice = on_choice
        self._quiet = Quiet()
        self.section = widgets.ToggleButtons(
            options=[(each.value, each) for each in Section], value=Section.TOKENS, layout=wrapped(), style=_WIDTH
        )
        self.head = widgets.Combobox(description="Head", placeholder="L2H3", layout=flexible("220px"))
        self.skips_first = widgets.Checkbox(
            description="leave the first token out", indent=False, layout=widgets.Layout(width="auto")
        )
        self.view = widgets.HTML(layout=filling())
        for field in (self.section, self.head, self.skips_first):
            field.observe(lambda _: self._changed(), names="value")
        self._fields = widgets.HBox([self.head, self.skips_first], layout=wrapped(align_items="center"))
        super().__init__([self.section, self._fields, self.view], layout=filling())
        self.add_class("ne-sections")
        self._show_fields()

    @property
    def choice(self) -> SectionChoice:
        """What the fields say."""
        section = self.section.value or Section.TOKENS  # a front end may choose none
        return SectionChoice(section, self.head.value.strip(), self.skips_first.value)

    def choose(self, choice: SectionChoice) -> None:
        """Set the fields without calling `on_choice`."""
        with self._quiet:
            self.section.value, self.head.value = choice.section, choice.head
            self.skips_first.value = choice.skips_first
        self._show_fields()

    def _changed(self) -> None:
        self._show_fields()
        if not self._quiet.is_on:
            self._on_choice()

    def _show_fields(self) -> None:
        shown = self.section.value in (Section.PATTERN, Section.PATTERNS)
        self._fields.layout.display = "" if shown else "none"
        self.head.layout.display = "" if self.section.value is Section.PATTERN else "none"


_WIDTH = {"button_width": "auto"}
