"""What a person keeps of a page: the code that gives it, notes, and the page as a file."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from neuron_explainer.widgets.parts import button, filling, flexible, wrapped


class SavePanel(widgets.VBox):
    """The code, and a field with a button that saves the page.

    Args:
        on_save: called with the path when a person saves the page.
        file_name: the file that is offered.
        below: what else there is, below them.
    """

    def __init__(self, on_save: Callable[[str], None], file_name: str, below: Sequence[widgets.Widget] = ()) -> None:
        self.shows_code = widgets.ToggleButton(
            description="Show the code", icon="code", tooltip="The Python that gives what is on view", value=False
        )
        self.code = widgets.Textarea(description="Code", disabled=False, layout=_wide("150px", display="none"))
        self.path = widgets.Text(value=file_name, description="File", layout=flexible("280px"))
        self.save = button("Save page", "save", "Write the page to an HTML file", "120px")
        self.said = widgets.HTML()
        self.shows_code.observe(lambda _: self._code_wanted(), names="value")
        self.save.on_click(lambda _: on_save(self.path.value))
        row = widgets.HBox([self.shows_code, self.path, self.save, self.said], layout=wrapped(align_items="center"))
        super().__init__([row, self.code, *below], layout=filling())
        self.add_class("ne-keep")

    def _code_wanted(self) -> None:
        self.code.layout.display = "" if self.shows_code.value else "none"


class KeepPanel(SavePanel):
    """The notes, beside the code and the file.

    Args:
        on_notes: called when the notes change.
        on_save: called with the path when a person saves the page.
    """

    def __init__(self, on_notes: Callable[[], None], on_save: Callable[[str], None]) -> None:
        self.notes = widgets.Textarea(
            description="Notes", placeholder="Kept in the notebook, the saved page and the state", layout=_wide("64px")
        )
        self.notes.observe(lambda _: on_notes(), names="value")
        super().__init__(on_save, "why.html", [self.notes])


def _wide(height: str, **options: str) -> widgets.Layout:
    return widgets.Layout(width="calc(100% - 4px)", max_width="820px", height=height, **options)
