"""The part of a page that keeps what is on view: traits, the static copy, files."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets
import traitlets

from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.comparison import Comparison
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import path_text
from neuron_explainer.widgets.attribution.panels.status_bar import StatusBar
from neuron_explainer.widgets.attribution.work.page_content import PageContent
from neuron_explainer.widgets.attribution.work.page_work import StaticTask, static_document, static_page
from neuron_explainer.widgets.keep_panel import KeepPanel
from neuron_explainer.widgets.messages import error_message, hint_message
from neuron_explainer.widgets.replaced import displayed, watch
from neuron_explainer.widgets.snapshot import SnapshotDisplay
from neuron_explainer.widgets.weak_calls import weakly


class KeptPage(widgets.VBox):
    """The traits of a page, its static copy in the notebook, and its file."""

    if TYPE_CHECKING:  # as a reader sees the traits, which nobody else sets

        @property
        def attribution(self) -> Attribution | None:
            """The answer on view."""

        @property
        def comparison(self) -> Comparison | None:
            """Both answers where two prompts are side by side; else None."""

        @property
        def node(self) -> str:
            """The name of the node that is open; empty without one."""

        @property
        def error(self) -> BaseException | None:
            """The error of the last thing that was asked; None if it succeeded."""

    else:
        attribution = traitlets.Instance(Attribution, allow_none=True, read_only=True)
        comparison = traitlets.Instance(Comparison, allow_none=True, read_only=True)
        node = traitlets.Unicode(read_only=True)
        error = traitlets.Instance(BaseException, allow_none=True, read_only=True)

    _content: PageContent | None = None
    _lock: threading.RLock
    status: StatusBar
    keep: KeepPanel

    def _begin_copies(self) -> None:
        """Begin to keep a static copy in the notebook; the parts of the page are there."""
        self._snapshot = SnapshotDisplay(self, self.to_html, weakly(self._not_copied), self._lock)
        watch(self)

    @property
    def _shown(self) -> PageContent:
        if self._content is None:
            raise InvalidRequestError("No answer is on view yet.")
        return self._content

    def _noted(self) -> None:
        if self._content is not None:
            self._copy()

    def _copy(self) -> None:
        """Replace the static copy in the notebook."""
        self._snapshot.update()

    def _not_copied(self, error: BaseException) -> None:
        self.status.fail(error, self._shown.title)

    def _save_pressed(self, path: str) -> None:
        try:
            written = self.save_html(path)
        except (NeuronExplainerError, OSError) as error:
            self.keep.said.value = error_message(error, None)
        else:
            self.keep.said.value = hint_message(f"Saved as {written}")

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to an HTML file that needs no other file.

        Returns:
            The file's path.

        Raises:
            UnsupportedLocationError: `path` is not a local path.
        """
        write_bytes_atomically(path_text(path), static_document(self._static_task()).encode())
        return Path(path)

    def to_html(self) -> str:
        """The page as static HTML, as a saved notebook contains it."""
        return static_page(self._static_task())

    def _static_task(self) -> StaticTask:
        return StaticTask(self._shown, self.keep.notes.value)

    def _ipython_display_(self, **_: object) -> None:
        self._snapshot.show()
        displayed(self)
