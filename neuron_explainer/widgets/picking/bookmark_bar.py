"""A star for the component that is chosen, a note beside it, and the bookmarks of its dataset or model."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from neuron_explainer.components.notes.bookmarks import (
    Bookmark,
    add_bookmark,
    bookmark_subject,
    bookmarks_of,
    drop_bookmark,
)
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.parts import button, flexible, wrapped
from neuron_explainer.widgets.quiet import Quiet
from neuron_explainer.widgets.weak_calls import weakly
from neuron_explainer.wording import in_a_sentence

_MOST_LISTED = 500
_LABEL_CHARACTERS = 60


class BookmarkBar(widgets.HBox):
    """The bookmarks of the dataset or model that is chosen.

    Args:
        on_pick: called with a bookmark that a person chooses.
        on_error: called with an error of the file.
    """

    def __init__(self, on_pick: Callable[[Bookmark], None], on_error: Callable[[BaseException], None]) -> None:
        self._on_pick, self._on_error = on_pick, on_error
        self._quiet = Quiet()
        self._choice: NeuronChoice | None = None
        self._at: tuple[str, str, str] | None = None  # subject, name and type of what is chosen
        self.star = button("Bookmark", "star-o", "Bookmark this component, with the note", "140px")
        self.note = widgets.Text(
            description="Note", placeholder="A note of your own…", continuous_update=False, layout=flexible("330px")
        )
        self.marks = widgets.Dropdown(description="Bookmarks", layout=flexible("330px"))
        self.star.on_click(weakly(self._star_clicked))
        self.note.observe(weakly(self._note_changed), names="value")
        self.marks.observe(weakly(self._mark_chosen), names="value")
        super().__init__([self.star, self.note, self.marks], layout=wrapped())

    def show(self, choice: NeuronChoice) -> None:
        """Show the bookmarks of a choice's dataset, and whether the choice is one of them."""
        self._choice, name = choice, choice.name
        self._at = None if name is None else (bookmark_subject(choice.dataset), name, choice.dst.value)
        try:
            known = bookmarks_of(bookmark_subject(choice.dataset))
        except (NeuronExplainerError, OSError) as error:
            known = []
            self._on_error(error)
        mark = next((each for each in known if each.component == self._at), None)
        with self._quiet:
            self.star.disabled = self.note.disabled = self._at is None
            self.star.description = "Bookmark" if mark is None else "Remove mark"
            self.star.icon = "star-o" if mark is None else "star"
            self.note.value = "" if mark is None else mark.note
            listed = known[::-1][:_MOST_LISTED]
            self.marks.options = [(f"{len(known):,} here", ""), *((_label(each), each) for each in listed)]
            self.marks.value = ""
            self.marks.disabled = not known

    def refresh(self) -> None:
        """Show what the file has now."""
        if self._choice is not None:
            self.show(self._choice)

    @property
    def is_marked(self) -> bool:
        """Whether the component that is chosen has a bookmark."""
        return self._at is not None and any(each.component == self._at for each in bookmarks_of(self._at[0]))

    def add(self, note: str) -> None:
        """Mark the component that is chosen.

        Raises:
            InvalidRequestError: what is chosen is not a component; or as `add_bookmark`.
            MalformedRecordError: the file is damaged.
        """
        if self._at is None:
            raise InvalidRequestError("What is chosen is not one head, neuron or latent, so it cannot be bookmarked.")
        add_bookmark(*self._at, note)
        self.refresh()

    def remove(self) -> None:
        """Take the mark of the component that is chosen away; nothing happens if it has none.

        Raises:
            MalformedRecordError: the file is damaged.
        """
        if self._at is not None and self.is_marked:
            drop_bookmark(*self._at)
        self.refresh()

    def _star_clicked(self, _: object) -> None:
        self._act(lambda: self.remove() if self.is_marked else self.add(self.note.value))

    def _note_changed(self, change: dict[str, Any]) -> None:
        # Of what is not marked, the note waits for the star.
        if not self._quiet.is_on:
            self._act(lambda: self.add(change["new"]) if self.is_marked else None)

    def _act(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (NeuronExplainerError, OSError) as error:
            self._on_error(error)

    def _mark_chosen(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on and change["new"]:
            self._on_pick(change["new"])


def _label(mark: Bookmark) -> str:
    note = f": {in_a_sentence(mark.note, _LABEL_CHARACTERS)}" if mark.note.strip() else ""
    return f"{in_a_sentence(mark.name, _LABEL_CHARACTERS)}{note}"
