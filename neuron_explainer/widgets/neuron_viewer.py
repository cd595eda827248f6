"""A widget to browse neurons in a notebook: their top activations, statistics, and activations on the user's text."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, cast

import ipywidgets as widgets
import traitlets

from neuron_explainer.activation_server.dataset_paths import dataset_text
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.records import LayerOrNode, is_node, record_asked
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.views.document import html_document
from neuron_explainer.views.record_page import DEFAULT_EXAMPLES, record_title, record_to_html, texts_to_html
from neuron_explainer.vocabulary.checks import checked_flag, checked_number, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.widgets.busy_kernel import answer_while_busy
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.messages import error_message, hint_message, loading_message, shown_message
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.component_scales import ComponentScales
from neuron_explainer.widgets.neurons.controls import NeuronControls, OwnText
from neuron_explainer.widgets.neurons.model_source import ModelSource, beginning_of, live_record_of, texts_of
from neuron_explainer.widgets.neurons.sources import RecordSource, source_of
from neuron_explainer.widgets.parts import widgets_in
from neuron_explainer.widgets.replaced import displayed, watch
from neuron_explainer.widgets.snapshot import SnapshotDisplay
from neuron_explainer.widgets.weak_calls import weakly

if TYPE_CHECKING:
    from neuron_explainer.models.chats.messages import Chat
    from neuron_explainer.models.model_context import ModelContext

_TYPING_PAUSE = 0.25
"""Seconds without a change after which a typed index is loaded."""

_HINT = "Write a text and click Compute."


class NeuronViewer(widgets.VBox):
    """A widget that shows the neurons of a dataset, or of a model, one at a time.

    The constructor checks its arguments. Later failures, including that of the first load, are shown in the widget, and
    the neuron that was shown before stays.

    Args:
        dataset: a registered short name (`ne.datasets()` lists them), an http(s) address, or a folder; or a model,
            which computes its activations on `texts`.
        layer: the layer to show first, from 0; None: the first layer of the dataset. Or the neuron, head or latent as a
            whole: its name, such as "L2N5", or an index, such as a NodeIndex from a table.
        neuron: the neuron, head or latent to show first, from 0; None: the first.
        dst: the derived scalar type of the activations, or its name; None: the dataset's first.
        examples: how many top examples are shown; fewer of the other kinds.
        texts: for a model: the texts that it computes activations on, until the user writes one. A list of messages is
            taken for a text.
        prepend_bos: whether the tokens of a text begin with the beginning-of-sequence token; None: as the model's
            tokenizer does. The view says so if they do.
        load: for a dataset: a function that loads the record of a `NeuronChoice`; None: `load_neuron`.

    Attributes:
        record: the record that is shown; None before the first one. A trait, as are `node` and `error`:
            `viewer.observe(f, "record")` calls `f` when a new record is on view, in the thread that loaded it.
        node: the neuron, head or latent that is shown, at all tokens; None before the first one.
        error: the error of the last load or computation; None if it succeeded.
        controls: the fields and buttons that choose the neuron.
        own_text: the field for the user's text, its button and its view; hidden if no model is available.
        status: the line that says what is loading, shown or wrong.

    Raises:
        UnknownDatasetError: the dataset is unknown, or lacks the derived scalar type.
        UnknownNameError: the derived scalar type is unknown.
        InvalidRequestError: the dataset does not have this layer or neuron; `examples` is not a whole number above 0;
            `prepend_bos` is not True or False; `texts` are given with a dataset, or `load` with a model; `dataset` is
            neither a dataset nor a model; `texts` are not texts, or `load` is not a function.
        NodeNameError: `layer` is a text that is not a node's name.
        PromptError: messages among `texts` are malformed.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.

    An example, in a notebook cell:

        viewer = ne.NeuronViewer("tiny", layer=2, neuron=5)
        viewer
    """

    if TYPE_CHECKING:  # as a reader sees the traits, which nobody else sets

        @property
        def record(self) -> NeuronRecord | None:
            """The record that is shown; None before the first one."""

        @property
        def node(self) -> NodeIndex | None:
            """The neuron, head or latent that is shown, at all tokens; None before the first one."""

        @property
        def error(self) -> BaseException | None:
            """The error of the last load or computation; None if it succeeded."""

    else:
        record = traitlets.Instance(NeuronRecord, allow_none=True, read_only=True)
        node = traitlets.Instance(NodeIndex, allow_none=True, read_only=True)
        error = traitlets.Instance(BaseException, allow_none=True, read_only=True)

    def __init__(
        self,
        dataset: "str | os.PathLike[str] | ModelContext" = "tiny",
        layer: LayerOrNode | None = None,
        neuron: SupportsIndex | None = None,
        dst: DerivedScalarType | str | None = None,
        *,
        examples: int = DEFAULT_EXAMPLES,
        texts: "str | Chat | Sequence[str | Chat]" = (),
        prepend_bos: bool | None = None,
        load: Callable[[NeuronChoice], NeuronRecord] | None = None,
    ) -> None:
        self._prepend_bos = None if prepend_bos is None else checked_flag("prepend_bos", prepend_bos)
        self._source = source_of(dataset, dst, texts, load, self._prepend_bos)
        self._computes_records = isinstance(self._source, ModelSource)  # then a record needs a text
        self._given_texts = texts_of(dataset, texts)
        name, first_type = self._source.first_choice()
        if neuron is None and is_node(layer):
            others = self._source.types(name) if dst is None else ()
            layer, neuron, first_type = record_asked(layer, first_type, others)
        size = self._source.size(name, first_type)
        if layer is None:
            layer = size.layers[0] if size.layers else 0
        first = NeuronChoice(name, first_type, cast(SupportsIndex, layer), 0 if neuron is None else neuron)
        size.check(first)
        n_examples = checked_number("examples", examples)

        self._loading = LatestOnly(self._source.load, weakly(self._loaded))
        on_texts = partial(_computed_on_texts, self._source, self._prepend_bos)
        self._computing = LatestOnly(on_texts, weakly(self._computed))
        self._scales = ComponentScales()
        self._shown: NeuronChoice | None = None
        self.controls = NeuronControls(
            self._source,
            first,
            n_examples,
            weakly(self._chosen),
            None if self._computes_records else weakly(self._render),
        )
        self.own_text = OwnText(weakly(self._compute_pressed))
        self.status, self._view = widgets.HTML(), widgets.HTML(layout=widgets.Layout(width="100%"))
        scrolled = widgets.Box([self._view], layout=widgets.Layout(max_height="860px", overflow="auto"))
        super().__init__([self.controls, self.status, self.own_text, scrolled])
        self.add_class("ne-viewer")
        self._snapshot = SnapshotDisplay(self)
        watch(self)
        answer_while_busy(self)
        if self._computes_records and not self._given_texts:
            self.status.value = hint_message(_HINT)
        else:
            self.show()

    def show(
        self,
        layer: LayerOrNode | None = None,
        neuron: SupportsIndex | None = None,
        *,
        dataset: str | None = None,
        dst: DerivedScalarType | str | None = None,
    ) -> None:
        """Show another neuron. When this returns, it is shown, or `error` says why not.

        Args:
            layer: the layer, from 0; None: unchanged. Or the neuron as a whole, by its name or an index.
            neuron: the neuron, from 0; None: unchanged.
            dataset: a short name; None: unchanged.
            dst: the derived scalar type, or its name; None: unchanged if the dataset has it, else the dataset's first.

        Raises:
            UnknownDatasetError: the dataset is unknown, or lacks the derived scalar type.
            UnknownNameError: the derived scalar type is unknown.
            InvalidRequestError: the dataset does not have this layer or neuron, or `dataset` is not a text.
            NodeNameError: `layer` is a text that is not a node's name.

        An example: `viewer.show(layer=3, neuron=7)`, or `viewer.show("L3N7")`.
        """
        now = self.controls.choice
        name = now.dataset if dataset is None else dataset_text(checked_type("dataset", dataset, str))
        types = self._source.types(name)
        chosen_type = derived_scalar_type_of(dst) if dst is not None else now.dst
        if dst is None and types and chosen_type not in types:
            chosen_type = types[0]
        if neuron is None and is_node(layer):
            others = types if dst is None else ()
            layer, neuron, chosen_type = record_asked(layer, chosen_type, others)
        chosen_layer = now.layer if layer is None else cast(SupportsIndex, layer)
        choice = NeuronChoice(name, chosen_type, chosen_layer, now.neuron if neuron is None else neuron)
        size = self._source.size(name, chosen_type)
        if layer is None:
            choice = size.with_layer(choice)
        size.check(choice)
        self.controls.choose(choice)
        self._loading.run(self._with_texts(choice))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the last choice made with the controls is shown or has failed.

        Args:
            timeout: seconds; None: no limit.

        Returns:
            Whether it is shown or has failed.
        """
        return self._loading.wait(timeout) and self._computing.wait(timeout)

    def to_html(self) -> str:
        """The shown page as static HTML, as a saved notebook contains it."""
        return self._view.value + self.own_text.view.value

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the shown page, with the view of the user's text, to an HTML file that needs no other file.

        Returns:
            The file's path.

        Raises:
            InvalidRequestError: no neuron is shown yet, or `path` is not a local path.

        An example: `viewer.save_html("neuron.html")`.
        """
        if self.record is None or self._shown is None:
            raise InvalidRequestError("No neuron is shown yet, so there is nothing to save.")
        document = html_document(self.to_html(), record_title(self.record, self._shown.dst))
        write_bytes_atomically(path, document.encode())
        return Path(path)

    def __repr__(self) -> str:
        return f"<NeuronViewer of {self._shown or 'nothing yet'}>"

    def close(self) -> None:
        """Close the viewer and all its parts. What it showed stays in the notebook as static HTML.

        A viewer closes by itself when its cell has run again and nothing refers to it any more.
        """
        for part in widgets_in(self):
            part.close()
        super().close()

    def _ipython_display_(self, **_: object) -> None:
        self._snapshot.show(self.to_html())
        displayed(self)

    # From a control to the page

    def _chosen(self, choice: NeuronChoice, is_typed: bool) -> None:
        choice = self._with_texts(choice)
        if self._computes_records and not choice.texts:
            return  # the hint stays
        self.status.value = loading_message(choice)
        self._loading.submit(choice, _TYPING_PAUSE if is_typed else 0.0)

    def _with_texts(self, choice: NeuronChoice) -> NeuronChoice:
        if not self._computes_records:
            return choice
        return replace(choice, texts=self.own_text.texts or self._given_texts)

    def _loaded(self, choice: NeuronChoice, result: NeuronRecord | BaseException) -> None:
        """Show a record, or an error beside the record that is shown."""
        if isinstance(result, BaseException):
            self._fail(result)
            return
        self._show_record(choice, result)
        self.status.value = self._shown_message(choice)
        can_compute = self._source.computes_texts(choice.dataset)
        self.own_text.layout.display = "" if can_compute else "none"
        if can_compute and self.own_text.view.value:  # the text stays, so show this neuron's activations on it
            self._compute_own_text(choice)
        else:
            self.own_text.view.value = ""

    def _show_record(self, choice: NeuronChoice, record: NeuronRecord) -> None:
        dataset = choice.dataset_shown
        if self._computes_records:
            scale, note = self._scales.scale(choice, record, None)
            page = texts_to_html(
                record, scale, note, beginning=self._beginning(choice), dst=choice.dst, dataset=dataset
            )
        else:
            page = record_to_html(record, dst=choice.dst, dataset=dataset, examples=self.controls.examples.value)
        self._shown = choice
        self._view.value = page
        self._snapshot.update(self.to_html())
        with self.hold_trait_notifications():  # an observer of one finds the others as new
            self.set_trait("error", None)
            self.set_trait("node", choice.node)
            self.set_trait("record", record)

    def _render(self) -> None:
        if self.record is not None and self._shown is not None:
            self._show_record(self._shown, self.record)

    def _fail(self, error: BaseException) -> None:
        self.status.value = error_message(error, self._shown)
        self.set_trait("error", error)

    def _shown_message(self, choice: NeuronChoice) -> str:
        # Not the size in the controls, which may have another dataset, whose record could not be loaded.
        return shown_message(choice, self._source.size(choice.dataset, choice.dst))

    # The user's text

    def _compute_pressed(self) -> None:
        if self._computes_records:
            self._chosen(self.controls.choice, False)
        elif self._shown is not None:
            self._compute_own_text(self._shown)

    def _compute_own_text(self, shown: NeuronChoice) -> None:
        choice = replace(shown, texts=self.own_text.texts)
        if not choice.texts:
            self.own_text.view.value = ""
            self.status.value = hint_message(_HINT)
            return
        self.status.value = loading_message(choice)
        self._computing.submit(choice)

    def _computed(self, choice: NeuronChoice, result: NeuronRecord | BaseException) -> None:
        """Show the activations on the user's text, or an error."""
        if isinstance(result, BaseException):
            self._fail(result)
            return
        scale, note = self._scales.scale(choice, result, self.record)
        self.own_text.view.value = texts_to_html(result, scale, note, beginning=self._beginning(choice))
        self.status.value = self._shown_message(choice)
        self._snapshot.update(self.to_html())
        self.set_trait("error", None)

    def _beginning(self, choice: NeuronChoice) -> str:
        return beginning_of(self._source.live_model(), self._prepend_bos, choice.texts)


def _computed_on_texts(source: RecordSource, prepend_bos: bool | None, choice: NeuronChoice) -> NeuronRecord:
    return live_record_of(source.live_model(), choice, prepend_bos)
