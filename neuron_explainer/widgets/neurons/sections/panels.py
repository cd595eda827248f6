"""The controls of each section."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from neuron_explainer.widgets.neurons.sections.asked import N_FOUND, SectionSettings
from neuron_explainer.widgets.parts import button, filling, flexible, wrapped
from neuron_explainer.widgets.quiet import Quiet

MOST_SHOWN = 200
_OWN_KIND = "own"  # a choice of None would be shown as none
_BY = [("what they write", "write"), ("what they read", "read"), ("activation on texts", "activation")]
_AMONG = [("its own kind", _OWN_KIND), ("neurons", "neuron"), ("heads", "head"), ("latents", "latent")]
_KINDS = [("most active", "most"), ("most against their habit", "selective"), ("words of explanations", "explanation")]


class Panel(widgets.HBox):
    """The controls of one section in a row that wraps.

    Args:
        controls: the controls.
    """

    def __init__(self, controls: list[widgets.Widget]) -> None:
        self.quiet = Quiet()
        super().__init__(controls, layout=wrapped(align_items="center"))

    def settings(self) -> dict[str, Any]:
        """Fields of `SectionSettings`."""
        return {}

    def choose(self, settings: SectionSettings) -> None:
        """Set the controls without a call."""

    def observed(self, controls: list[widgets.Widget], on_change: Callable[[], None]) -> None:
        """Call a function when a person changes one of some controls."""

        def changed(_: dict[str, Any]) -> None:
            if not self.quiet.is_on:
                on_change()

        for control in controls:
            control.observe(changed, names="value")


class DirectionsPanel(Panel):
    """How many tokens are shown at each end."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.n = _number("Tokens", 10)
        super().__init__([self.n])
        self.observed([self.n], on_change)

    def settings(self) -> dict[str, Any]:
        """How many."""
        return {"n": self.n.value}

    def choose(self, settings: SectionSettings) -> None:
        """Set how many."""
        with self.quiet:
            self.n.value = settings.n


class NeighboursPanel(Panel):
    """By what neighbours are alike, among which components, and how many."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.by = widgets.Dropdown(options=_BY, value="write", description="Alike by", layout=flexible("260px"))
        self.among = widgets.Dropdown(options=_AMONG, value=_OWN_KIND, description="Among", layout=flexible("220px"))
        self.n = _number("How many", 10)
        super().__init__([self.by, self.among, self.n])
        self.observed([self.by, self.among, self.n], on_change)

    def settings(self) -> dict[str, Any]:
        """By, among, and how many."""
        return {
            "by": self.by.value,
            "among": None if self.among.value == _OWN_KIND else self.among.value,
            "n": self.n.value,
        }

    def choose(self, settings: SectionSettings) -> None:
        """Set by, among, and how many."""
        with self.quiet:
            self.by.value, self.n.value = settings.by, settings.n
            self.among.value = settings.among or _OWN_KIND


class SearchPanel(Panel):
    """The text that is searched for, and where.

    Args:
        on_search: called when a person searches.
    """

    def __init__(self, on_search: Callable[[], None]) -> None:
        self.query = widgets.Text(
            description="Look for",
            placeholder="Which components fire on …",
            layout=flexible("320px"),
            continuous_update=False,
        )
        self.kind = widgets.Dropdown(options=_KINDS, value="most", description="By", layout=flexible("280px"))
        self.is_live = widgets.Checkbox(
            value=False,
            indent=False,
            description="in one pass of the model",
            tooltip="Whether the model reads the text now; else the dataset's stored examples are searched",
            layout=widgets.Layout(width="auto"),
        )
        self.n = _number("How many", N_FOUND)
        self.search = button("Search", "search", "Look for components that fire on the text", "96px")
        self.search.on_click(lambda _: on_search())
        super().__init__([self.query, self.kind, self.n, self.is_live, self.search])
        self.observed([self.query], on_search)  # Enter, or leaving the field

    def settings(self) -> dict[str, Any]:
        """The query, its kind, where, and how many."""
        return {
            "query": self.query.value,
            "kind": self.kind.value,
            "is_live": self.is_live.value,
            "n": self.n.value,
        }

    def choose(self, settings: SectionSettings) -> None:
        """Set the query, its kind, where, and how many."""
        with self.quiet:
            self.query.value, self.kind.value = settings.query, settings.kind
            self.is_live.value, self.n.value = settings.is_live, settings.n


class ComparePanel(Panel):
    """The components beside the one on view.

    Args:
        on_compare: called when a person compares.
    """

    def __init__(self, on_compare: Callable[[], None]) -> None:
        self.others = widgets.Text(description="Beside", placeholder="L2N5, L1N3", layout=flexible("320px"))
        self.compare = button("Compare", "columns", "Show them on the same texts and scale", "104px")
        self.compare.on_click(lambda _: on_compare())
        super().__init__([self.others, self.compare])

    def settings(self) -> dict[str, Any]:
        """The other components."""
        return {"others": self.others.value.strip()}

    def choose(self, settings: SectionSettings) -> None:
        """Set the other components."""
        self.others.value = settings.others


class AttentionPanel(Panel):
    """The text and the token whose attention is shown."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.text = widgets.BoundedIntText(description="Text", min=0, max=0, value=0, layout=flexible("150px"))
        self.token = widgets.BoundedIntText(description="Token", min=0, max=10**6, value=0, layout=flexible("150px"))
        self.slider = widgets.IntSlider(
            description="", min=0, max=1, value=0, readout=False, continuous_update=False, layout=flexible("260px")
        )
        self.slider.tooltip = "The token whose attention is shown"
        super().__init__([self.text, self.token, self.slider])
        self.observed([self.text, self.token], on_change)
        widgets.link((self.token, "value"), (self.slider, "value"))

    def settings(self) -> dict[str, Any]:
        """The text and the token."""
        return {"text": self.text.value, "token": self.token.value}

    def choose(self, settings: SectionSettings) -> None:
        """Set the text and the token."""
        with self.quiet:
            self.text.value, self.token.value = settings.text, settings.token

    def limit(self, n_texts: int, n_tokens: int) -> None:
        """Say how many texts there are, and how many tokens the chosen one has."""
        with self.quiet:
            self.text.max = max(0, n_texts - 1)
            self.token.max = self.slider.max = max(0, n_tokens - 1)


class ExplanationsPanel(Panel):
    """A field for an explanation of one's own, and buttons that keep and remove it.

    Args:
        on_add: called with the text when a person keeps it.
        on_remove: called with the text when a person removes it.
    """

    def __init__(self, on_add: Callable[[str], None], on_remove: Callable[[str], None]) -> None:
        self.text = widgets.Textarea(
            description="Your own", placeholder="What does it do?", rows=2, layout=filling(max_width="520px")
        )
        self.text.layout.width = "100%"
        self.add = button("Keep", "check", "Keep this explanation in your own file", "84px")
        self.remove = button("Remove", "trash", "Remove your explanation with this text", "100px")
        self.add.on_click(lambda _: on_add(self.text.value))
        self.remove.on_click(lambda _: on_remove(self.text.value))
        super().__init__([self.text, self.add, self.remove])


def _number(name: str, value: int) -> widgets.BoundedIntText:
    return widgets.BoundedIntText(description=name, value=value, min=1, max=MOST_SHOWN, layout=flexible("150px"))
