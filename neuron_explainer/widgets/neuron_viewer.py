"""A viewer of neurons for notebooks: choose one, read what it responds to, go on to the next."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets

from neuron_explainer.activations.activations import NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.views.document import html_document
from neuron_explainer.views.record_page import DEFAULT_EXAMPLES, component_name, record_to_html
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.widgets.controls import NeuronControls, OwnText
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.messages import error_message, hint_message, loading_message, place_message, text_view
from neuron_explainer.widgets.snapshot import SnapshotDisplay
from neuron_explainer.widgets.sources import DatasetSource, ModelSource, Request, Source, live_record_of

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext

_TYPING_PAUSE = 0.25
"""Seconds without another change after which what was typed is loaded."""


class NeuronViewer(widgets.VBox):
    """Neurons of a dataset, or of a model, one at a time.

    What fails after the constructor has checked its arguments, the first load included, is told in the viewer, and the
    neuron that was on view stays there.

    Args:
        dataset: a registered short name (`ne.datasets()` lists them), an address, a folder; or a model, which computes
            its activations on `texts`.
        layer: the first to show, from 0.
        neuron: the neuron, head or latent in the layer, from 0.
        dst: what activations are of; None: the first that the dataset has.
        examples: how many top examples are shown; fewer of the others.
        texts: with a model, what it is run on until a text is written in the viewer.
        load: with a dataset, what gives the record of a request; None: `load_neuron`.

    Attributes:
        controls: the fields and buttons that choose.
        own_text: the box for a text of one's own, its button and what comes of it; hidden where no model is at hand.
        status: the line that tells what is loading, on view, or wrong.

    Raises:
        UnknownDatasetError: there is no such dataset.
        InvalidRequestError: the dataset is known not to have this layer or neuron; `examples` is below 1; `texts` come
            with a dataset, or `load` with a model; `dataset` is neither.
    """

    def __init__(
        self,
        dataset: "str | os.PathLike[str] | ModelContext" = "tiny",
        layer: int = 0,
        neuron: int = 0,
        dst: DerivedScalarType | str | None = None,
        *,
        examples: int = DEFAULT_EXAMPLES,
        texts: str | Sequence[str] = (),
        load: Callable[[Request], NeuronRecord] | None = None,
    ) -> None:
        self._source: Source
        if isinstance(dataset, str | os.PathLike):
            if texts:
                raise InvalidRequestError(
                    "Texts go with a model; a dataset has its own. Write one in the viewer instead."
                )
            self._source = DatasetSource(dataset, dst, load)
        elif not hasattr(dataset, "model_name"):  # asking for its class would import torch
            raise InvalidRequestError(f"A viewer shows a dataset's neurons or a model's; {dataset!r:.200} is neither.")
        else:
            if load is not None:
                raise InvalidRequestError("A model computes its records, so `load` goes with a dataset alone.")
            self._source = ModelSource(dataset, dst)
        self._has_model_alone = isinstance(self._source, ModelSource)  # then texts come before records
        self._first_texts = (texts,) if isinstance(texts, str) else tuple(texts)
        first = Request(*self._source.first_choice(), layer, neuron)
        self._source.size(first.dataset, first.dst).check(first)
        if examples < 1:
            raise InvalidRequestError(f"A viewer shows at least 1 example, not {examples}.")

        self._loading = LatestOnly(self._source.load, self._loaded)
        self._computing = LatestOnly(self._compute, self._computed)
        self._record: NeuronRecord | None = None
        self._error: Exception | None = None
        self._on_view: Request | None = None
        self.controls = NeuronControls(self._source, first, examples, self._chosen, self._render)
        self.own_text = OwnText(self._compute_pressed)
        self.status, self._view = widgets.HTML(), widgets.HTML(layout=widgets.Layout(width="100%"))
        scrolled = widgets.Box([self._view], layout=widgets.Layout(max_height="860px", overflow="auto"))
        super().__init__([self.controls, self.status, self.own_text, scrolled])
        self.add_class("ne-viewer")
        self._snapshot = SnapshotDisplay(self)
        if self._has_model_alone and not self._first_texts:
            self.status.value = hint_message("Write a text and press Compute.")
        else:
            self.show()

    @property
    def record(self) -> NeuronRecord | None:
        """The record on view; None before the first."""
        return self._record

    @property
    def error(self) -> Exception | None:
        """What went wrong with the last request; None if nothing did."""
        return self._error

    def show(
        self,
        layer: int | None = None,
        neuron: int | None = None,
        *,
        dataset: str | None = None,
        dst: DerivedScalarType | str | None = None,
    ) -> None:
        """Go to another neuron; on return it is on view, or `error` says why it is not.

        Args:
            layer: None: the same.
            neuron: None: the same.
            dataset: a short name; None: the same.
            dst: None: the same if the dataset has it, else the first that it has.

        Raises:
            UnknownDatasetError: there is no such dataset, or it has nothing of this type.
            InvalidRequestError: the dataset is known not to have this layer or neuron.
        """
        asked = self.controls.choice
        name = asked.dataset if dataset is None else dataset
        types = self._source.types(name)
        wanted = derived_scalar_type_of(dst) if dst is not None else asked.dst
        if dst is None and types and wanted not in types:
            wanted = types[0]
        request = Request(
            name, wanted, asked.layer if layer is None else layer, asked.neuron if neuron is None else neuron
        )
        self._source.size(name, wanted).check(request)
        self.controls.choose(request)
        self._loading.run(self._with_texts(request))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what was last asked for by a control is on view or has failed; whether it is.

        Args:
            timeout: seconds; None: as long as it takes.
        """
        return self._loading.wait(timeout) and self._computing.wait(timeout)

    def to_html(self) -> str:
        """What is on view as static HTML, as it is left in a saved notebook."""
        return self._view.value + self.own_text.view.value

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write what is on view, one's own text included, to a file that needs no notebook and no network.

        Returns:
            The file's path.

        Raises:
            InvalidRequestError: nothing is on view yet.
        """
        if self._record is None or self._on_view is None:
            raise InvalidRequestError("Nothing is on view yet, so there is nothing to save.")
        document = html_document(self.to_html(), component_name(self._record, self._on_view.dst))
        write_bytes_atomically(path, document.encode())
        return Path(path)

    def __repr__(self) -> str:
        return f"<NeuronViewer of {self._on_view or 'nothing yet'}>"

    def _ipython_display_(self, **_: object) -> None:
        self._snapshot.show(self.to_html())

    # From a control to what is on view

    def _chosen(self, request: Request, is_typed: bool) -> None:
        request = self._with_texts(request)
        if self._has_model_alone and not request.texts:
            return  # the hint stands
        self.status.value = loading_message(request)
        self._loading.submit(request, _TYPING_PAUSE if is_typed else 0.0)

    def _with_texts(self, request: Request) -> Request:
        if not self._has_model_alone:
            return request
        return replace(request, texts=self.own_text.texts or self._first_texts)

    def _loaded(self, request: Request, result: NeuronRecord | Exception) -> None:
        """Put a record on view, or an error beside what is."""
        if not isinstance(result, Exception):
            try:
                self._put_on_view(request, result)
            except Exception as error:  # a view that fails must not take the viewer with it
                result = error
        if isinstance(result, Exception):
            self._fail(result)
            return
        self._error = None
        self.status.value = place_message(request, self.controls.size)
        can_compute = self._source.computes_texts(request.dataset)
        self.own_text.layout.display = "" if can_compute else "none"
        if can_compute and self.own_text.view.value:  # the text stays, so its values are to be this neuron's
            self._compute_own_text(request)
        else:
            self.own_text.view.value = ""

    def _put_on_view(self, request: Request, record: NeuronRecord) -> None:
        page = record_to_html(record, dst=request.dst, dataset=request.dataset, examples=self.controls.examples.value)
        self._record, self._on_view = record, request
        self._view.value = page
        self._snapshot.update(self.to_html())

    def _render(self) -> None:
        if self._record is not None and self._on_view is not None:
            self._put_on_view(self._on_view, self._record)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.status.value = error_message(error, self._on_view)

    # A text of one's own

    def _compute_pressed(self) -> None:
        if self._has_model_alone:
            self._chosen(self.controls.choice, False)
        elif self._on_view is not None:
            self._compute_own_text(self._on_view)

    def _compute_own_text(self, place: Request) -> None:
        request = replace(place, texts=self.own_text.texts)
        if not request.texts:
            self.own_text.view.value = ""
            self.status.value = hint_message("Write a text and press Compute.")
            return
        self.status.value = loading_message(request)
        self._computing.submit(request)

    def _compute(self, request: Request) -> NeuronRecord:
        return live_record_of(self._source.live_model(), request)

    def _computed(self, request: Request, result: NeuronRecord | Exception) -> None:
        """Show the values on one's own text, or an error beside what is on view."""
        if isinstance(result, Exception):
            self._fail(result)
            return
        self._error = None
        self.own_text.view.value = text_view(result, self._record)
        self.status.value = place_message(request, self.controls.size)
        self._snapshot.update(self.to_html())
