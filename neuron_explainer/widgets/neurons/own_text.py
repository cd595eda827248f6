"""The field for the user's texts, and the view of the activations on them, page by page."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from neuron_explainer.widgets.parts import button, filling, wrapped


class OwnText(widgets.VBox):
    """A field for the user's texts, a button, and the view of the activations on them.

    Args:
        on_compute: called when the button is clicked.
        on_page: called with the number of the page, from 0, when another page of long texts is chosen.
    """

    def __init__(self, on_compute: Callable[[], None], on_page: Callable[[int], None]) -> None:
        self.text = widgets.Textarea(
            placeholder="Type a text…",
            description="Your text",
            # The field takes what the button leaves, in a row of its own where that is too little.
            layout=widgets.Layout(flex="1 1 300px", width="auto", min_width="0", max_width="660px", height="64px"),
        )
        self.by_line = widgets.Checkbox(
            value=False,
            indent=False,
            description="a text on each line",
            tooltip="Whether each line is a text of its own",
            layout=widgets.Layout(width="auto"),
        )
        self.compute = button("Compute", "play", "Compute this neuron's activations on your text")
        self.view = widgets.HTML(layout=filling())
        self.pages = Pages(on_page)
        self._written: tuple[str, ...] | None = None
        for field in (self.text, self.by_line):
            field.observe(lambda _: self._forget(), names="value")
        self.compute.on_click(lambda _: on_compute())
        beside = widgets.VBox([self.by_line, self.compute], layout=widgets.Layout(flex="0 0 auto"))
        row = widgets.HBox([self.text, beside], layout=wrapped(align_items="flex-end"))
        super().__init__([row, self.pages, self.view], layout=widgets.Layout(width="100%"))

    @property
    def texts(self) -> tuple[str, ...]:
        """The user's texts; blank ones are left out."""
        if self._written is not None:
            return self._written
        several = self.text.value.splitlines() if self.by_line.value else [self.text.value]
        return tuple(text for text in several if text.strip())

    def write(self, texts: Sequence[str]) -> None:
        """Put texts into the field. Until a person changes it they stay as they are, also those of several lines."""
        self.by_line.value = len(texts) > 1
        self.text.value = "\n".join(texts)
        self._written = tuple(text for text in texts if text.strip())

    def _forget(self) -> None:
        self._written = None


class Pages(widgets.HBox):
    """Which page of several is on view; hidden where there is only one.

    Args:
        on_page: called with the number of a page, from 0, when it is chosen.
    """

    def __init__(self, on_page: Callable[[int], None]) -> None:
        self._on_page = on_page
        self._number, self._n_pages = 0, 1
        self.previous = button("Earlier", "arrow-left", "Show the page of texts before this one")
        self.next = button("Later", "arrow-right", "Show the page of texts after this one")
        self.said = widgets.Label()
        self.previous.on_click(lambda _: self._turn(-1))
        self.next.on_click(lambda _: self._turn(+1))
        super().__init__([self.previous, self.next, self.said], layout=wrapped(display="none"))

    @property
    def number(self) -> int:
        """The number of the page on view, from 0."""
        return self._number

    def show(self, number: int, n_pages: int) -> None:
        """Say which page is on view."""
        self._number, self._n_pages = number, n_pages
        self.previous.disabled, self.next.disabled = number == 0, number == n_pages - 1
        self.said.value = f"page {number + 1} of {n_pages}"
        self.layout.display = "" if n_pages > 1 else "none"

    def _turn(self, step: int) -> None:
        number = min(max(self._number + step, 0), self._n_pages - 1)
        if number != self._number:
            self._on_page(number)
