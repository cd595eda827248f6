"""A widget to browse neurons in a notebook: their top activations, statistics, and activations on the user's text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, cast

from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName
from neuron_explainer.activations.derived_scalars.names.records import LayerOrNode, is_node, record_asked
from neuron_explainer.activations.record_json import record_to_json
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.collation.settings import check_choice
from neuron_explainer.components.search.asking import SearchKind
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, NotAtHandError, UnknownNameError, shown
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.views.document import html_document
from neuron_explainer.views.record_page import DEFAULT_EXAMPLES, record_title
from neuron_explainer.vocabulary.checks import checked_flag, checked_number, checked_text
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.busy_kernel import answer_while_busy, waiting_note
from neuron_explainer.widgets.keep_panel import SavePanel
from neuron_explainer.widgets.messages import error_message, hint_message
from neuron_explainer.widgets.modules.box import module_box
from neuron_explainer.widgets.modules.page import VIEWER_SHORTCUTS, PageModule
from neuron_explainer.widgets.neurons.choice_asked import choice_asked
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.code_of_viewer import code_of_viewer
from neuron_explainer.widgets.neurons.model_source import texts_of
from neuron_explainer.widgets.neurons.sections.asked import N_FOUND, SectionName, SectionSettings
from neuron_explainer.widgets.neurons.sections.panels import MOST_SHOWN
from neuron_explainer.widgets.neurons.source_of import source_of
from neuron_explainer.widgets.neurons.viewer_page import HINT, ViewerPage
from neuron_explainer.widgets.parts import widgets_in
from neuron_explainer.widgets.replaced import displayed, watch
from neuron_explainer.widgets.snapshot import SnapshotDisplay
from neuron_explainer.widgets.weak_calls import weakly

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.attribution.question.settings import AutoencodersGiven
    from neuron_explainer.components.component import Component
    from neuron_explainer.models.chats.messages import Chat
    from neuron_explainer.models.model_context import ModelContext


class NeuronViewer(ViewerPage):
    """A widget that shows the neurons of a dataset, or of a model, one at a time.

    The constructor checks its arguments. Later failures, including that of the first load, are shown in the widget, and
    the neuron that was shown before stays. The methods do what the page's buttons do, and return when it is done.

    Args:
        dataset: a registered short name (`ne.datasets()` lists them), an http(s) address, or a folder; or a model, a
            DstConfig, or the name of a model, which computes its activations on `texts`. A name that is both means the
            dataset. None: the embedded dataset, or `model` alone if that is given.
        layer: the layer to show first, from 0; None: the first layer of the dataset. Or the neuron, head or latent as a
            whole: its name, such as "L2N5", or an index, such as a NodeIndex from a table.
        neuron: the neuron, head or latent to show first, from 0; None: the first.
        dst: the derived scalar type of the activations, or its name; None: the dataset's first.
        examples: how many top examples are shown; fewer of the other kinds.
        texts: for a model: the texts that it computes activations on, until the user writes one. A list of messages is
            taken for a text.
        model: the model of the dataset, or its name. With it the page has one's own texts, what a component writes and
            reads, and its neighbours. The embedded dataset has its own.
        autoencoders: of latents, as `ne.load_autoencoders` gives them.
        explanations: the name, address or folder of published explanations; None: those of the dataset.
        prepend_bos: whether the tokens of a text begin with the beginning-of-sequence token; None: as the model's
            tokenizer does. The view says so if they do.
        load: for a dataset: a function that loads the record of a `NeuronChoice`; None: `load_neuron`.
        core_controls_only: True leaves out the module by which rows can be clicked, and keys go from one to the next.

    Attributes:
        record: the record that is shown; None before the first one. A trait, as are `node`, `dataset` and `error`:
            `viewer.observe(f, "record")` calls `f` when a new record is on view, in the thread that loaded it.
        node: the neuron, head or latent that is shown, at all tokens; None before the first one.
        dataset: the name of the dataset or model of that record; empty before the first one.
        error: the error of the last load or computation; None if it succeeded.
        controls: the fields and buttons that choose the neuron.
        own_text: the field for the user's texts, its button and its view; hidden if no model is available.
        sections: what the page shows: examples, what the component writes and reads, neighbours and more.
        status: the line that says what is loading, shown or wrong.

    Raises:
        UnknownDatasetError: the dataset is unknown, or lacks the derived scalar type.
        UnknownNameError: the derived scalar type is unknown.
        InvalidRequestError: the dataset does not have this layer or neuron; `examples` is not a whole number above 0;
            `prepend_bos` is not True or False; `texts` are given with a dataset, or `load` with a model; `dataset` is
            neither a dataset nor a model; two models are given; `texts` are not texts, or `load` is not a function.
        NotAtHandError: autoencoders are given without a model.
        NodeNameError: `layer` is a text that is not a node's name.
        PromptError: messages among `texts` are malformed.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.

    An example, in a notebook cell:

        viewer = ne.NeuronViewer("tiny", layer=2, neuron=5)
        viewer
    """

    def __init__(
        self,
        dataset: str | os.PathLike[str] | ModelContext | DstConfig | None = None,
        layer: LayerOrNode | None = None,
        neuron: SupportsIndex | None = None,
        dst: DerivedScalarType | str | None = None,
        *,
        examples: int = DEFAULT_EXAMPLES,
        texts: str | Chat | Sequence[str | Chat] = (),
        model: ModelContext | DstConfig | str | os.PathLike[str] | None = None,
        autoencoders: AutoencodersGiven = None,
        explanations: str | os.PathLike[str] | None = None,
        prepend_bos: bool | None = None,
        load: Callable[[NeuronChoice], NeuronRecord] | None = None,
        core_controls_only: bool = False,
    ) -> None:
        has_module = not checked_flag("core_controls_only", core_controls_only)
        begins = None if prepend_bos is None else checked_flag("prepend_bos", prepend_bos)
        source = source_of(
            dataset, dst, texts, load, begins, model=model, autoencoders=autoencoders, explanations=explanations
        )
        given_texts = texts_of(source.live_model().context() if source.is_of_model else None, texts)
        name, first_type = source.first_choice()
        if neuron is None and is_node(layer):
            others = source.types(name) if dst is None else ()
            layer, neuron, first_type = record_asked(layer, first_type, others)
        size = source.size(name, first_type)
        if layer is None:
            layer = size.layers[0] if size.layers else 0
        first = NeuronChoice(name, first_type, cast(SupportsIndex, layer), 0 if neuron is None else neuron)
        size.check(first)
        super().__init__(source, first, checked_number("examples", examples), given_texts)
        self.keep = SavePanel(weakly(self._save_pressed), "neuron.html")
        self.keep.shows_code.observe(weakly(self._code_wanted), names="value")
        parts = [self.controls, self.status, self.own_text, self.sections, self.keep, waiting_note()]
        if has_module:
            module = PageModule(VIEWER_SHORTCUTS, "Neurons, heads and latents")
            module.on_action(weakly(self._acted))
            parts.append(module_box(module))
        self.children = parts
        self._snapshot = SnapshotDisplay(self, self.to_html, lock=self._lock)
        watch(self)
        answer_while_busy(self)
        if self._computes_records and not given_texts:
            self.status.value = hint_message(HINT)
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
        choice = choice_asked(self._source, self.controls.choice, layer, neuron, dataset, dst)
        self.controls.choose(choice)
        self._loading.run(self._with_texts(choice))

    def open_section(self, section: SectionName) -> None:
        """Show a section of the page. When this returns, it is shown, or `error` says why not.

        Args:
            section: "examples", "directions" (what it writes and reads), "neighbours", "statistics", "explanations",
                "search" or "compare"; of an attention head also "attention" and "heads" (its place among all heads).

        Raises:
            UnknownNameError: the component has no such section.

        An example: `viewer.open_section("neighbours")`.
        """
        self._check_section(section)
        self.sections.choose(section)
        self._open_now()

    def search(
        self, text: str, kind: SearchKind = "most", *, n: SupportsIndex = N_FOUND, in_model: bool = False
    ) -> None:
        """Search for components that fire on a text, as `ne.search`, and show them in the section "search".

        Args:
            text: the text, or words of explanations.
            kind: "most", "selective" or "explanation".
            n: how many components.
            in_model: whether one pass of the model over the text is searched, not the dataset's stored examples.

        Raises:
            UnknownNameError: `kind` is unknown.
            InvalidRequestError: `n` is not a whole number from 1 to 200, or `in_model` is not True or False.
        """
        check_choice("kind", kind, SearchKind)
        settings = SectionSettings(
            query=checked_text("text", text), kind=kind, n=_number_shown(n), is_live=checked_flag("in_model", in_model)
        )
        self.sections.choose("search", settings)
        self._open_now()

    def compare(self, *nodes: NodeGiven) -> None:
        """Show components beside this one, on the same texts and scale: one's own texts, or else stored examples.

        Args:
            nodes: their names or indices.
        """
        self.sections.choose("compare", SectionSettings(others=", ".join(str(NodeName.of(node)) for node in nodes)))
        self._open_now()

    def compute(self, texts: str | Sequence[str]) -> None:
        """Show the activations on one's own texts. When this returns, they are shown, or `error` says why not.

        Args:
            texts: a text, or several.

        Raises:
            InvalidRequestError: they are not texts, or the dataset has no model at hand.

        An example: `viewer.compute(["And the LORD said", "unto Moses"])`.
        """
        if not isinstance(texts, Iterable):
            raise InvalidRequestError(f"texts is {shown(texts)}. Give a text, or several.")
        several = [texts] if isinstance(texts, str) else list(texts)
        for text in several:
            checked_text("texts", text)
        if self._shown is not None and not self._source.computes_texts(self._shown.dataset):
            raise NotAtHandError("compute(…)", "model", "a model", "pass model= to NeuronViewer")
        self.own_text.write(several)
        if not self.own_text.texts:
            self._compute_pressed()  # which says that a text is missing
        elif self._computes_records:
            self._loading.run(self._with_texts(self.controls.choice))
        elif self._shown is not None:
            self._ask_texts(self._shown, self.own_text.texts, at_once=True)
        self._answering.wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the last choice made with the controls is shown or has failed.

        Args:
            timeout: seconds, for each of the page's computations; None: no limit.

        Returns:
            Whether it is shown or has failed.
        """
        works = (self._loading, self._computing, self._noting, self._answering)
        return all(work.wait(timeout) for work in (*works, *works, self._snapshot))  # one may begin another

    # What a person keeps

    def to_html(self) -> str:
        """The shown page as static HTML, as a saved notebook contains it: the record, texts, and sections opened."""
        with self._lock:
            return self._view.value + self.own_text.view.value + "".join(self._opened.values())

    def to_json(self) -> str:
        """The record on view in the public JSON format.

        Raises:
            InvalidRequestError: no neuron is shown yet.
        """
        return record_to_json(self._on_view()).decode()

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each token (or pair of tokens) of one's own texts on view; without those, of the stored examples.

        Raises:
            InvalidRequestError: no neuron is shown yet.
        """
        record = self._on_view()
        texts = self._texts_on_view
        if not texts:
            return record.to_dataframe()
        assert self._shown is not None
        return self._source.component(self._shown).activations(list(texts))

    @property
    def component(self) -> Component:
        """The component on view, with its record.

        Raises:
            InvalidRequestError: no neuron is shown yet.
        """
        record = self._on_view()
        assert self._shown is not None
        return self._source.component(self._shown).with_record(record)

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the shown page, with the user's texts and the sections opened, to an HTML file that needs no other.

        Returns:
            The file's path.

        Raises:
            InvalidRequestError: no neuron is shown yet, or `path` is not a local path.

        An example: `viewer.save_html("neuron.html")`.
        """
        record = self._on_view()
        document = html_document(self.to_html(), record_title(record, None if self._shown is None else self._shown.dst))
        write_bytes_atomically(path, document.encode())
        return Path(path)

    @property
    def code(self) -> str:
        """The Python that opens this page again.

        Raises:
            InvalidRequestError: no neuron is shown yet.
        """
        self._on_view()
        assert self._shown is not None
        own = self._texts_on_view
        section, settings = self.sections.section, self.sections.settings
        return code_of_viewer(self._source, self._shown, own, section, settings, self.controls.examples.value)

    def _on_view(self) -> NeuronRecord:
        if self.record is None:
            raise InvalidRequestError("No neuron is shown yet, so there is nothing to save.")
        return self.record

    def __repr__(self) -> str:
        return f"<NeuronViewer of {self._shown or 'nothing yet'}>"

    def close(self) -> None:
        """Close the viewer and all its parts. What it showed stays in the notebook as static HTML.

        A viewer closes by itself when its cell has run again and nothing refers to it any more.
        """
        if hasattr(self, "_snapshot"):  # else the constructor has failed
            self._snapshot.finish()
        for part in widgets_in(self):
            part.close()
        super().close()

    def _ipython_display_(self, **_: object) -> None:
        self._snapshot.show()
        displayed(self)

    def _copy(self) -> None:
        if hasattr(self, "_snapshot"):  # not while the page is being made
            self._snapshot.update()
            self._code_wanted()

    def _code_wanted(self, _: object = None) -> None:
        """Write the code, if it is on view; it may need the model, which is loaded for it."""
        if self.keep.shows_code.value and self.record is not None:
            self.keep.code.value = self.code

    def _save_pressed(self, path: str) -> None:
        try:
            written = self.save_html(path)
        except (NeuronExplainerError, OSError) as error:
            self.keep.said.value = error_message(error, None)
        else:
            self.keep.said.value = hint_message(f"Saved as {written}")

    def _check_section(self, section: SectionName) -> None:
        offered = [name for _, name in self.sections.tabs.options]
        if section not in offered:
            raise UnknownNameError("section", str(section), offered)

    def _open_now(self) -> None:
        """Show the chosen section before this returns."""
        self._open_section()
        self._answering.wait()


def _number_shown(n: SupportsIndex) -> int:
    number = checked_number("n", n)
    if number > MOST_SHOWN:
        raise InvalidRequestError(f"n is {number:,}. A page shows at most {MOST_SHOWN}; ne.search gives more.")
    return number
