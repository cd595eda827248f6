"""What happens on a viewer's page: from a control to a record, a section or a text, and back to the page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import ipywidgets as widgets
import traitlets

from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.activations.derived_scalars.names.records import LayerOrNode
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.record_page import record_to_html
from neuron_explainer.widgets.busy_kernel import answer_while_busy
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.messages import error_message, hint_message, loading_message, shown_message
from neuron_explainer.widgets.neurons.choice_asked import choice_asked
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.controls import NeuronControls
from neuron_explainer.widgets.neurons.own_text import OwnText
from neuron_explainer.widgets.neurons.sections.answers import Answers
from neuron_explainer.widgets.neurons.sections.asked import (
    SectionAnswer,
    SectionAsked,
    SectionName,
    SectionSettings,
)
from neuron_explainer.widgets.neurons.sections.node_sections import NodeSections, SectionCalls
from neuron_explainer.widgets.neurons.sections.remembered import RememberedSections
from neuron_explainer.widgets.neurons.sources import RecordSource
from neuron_explainer.widgets.neurons.texts_shown import TextsShown
from neuron_explainer.widgets.weak_calls import weakly

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component

_TYPING_PAUSE = 0.25
"""Seconds without a change after which a typed index is loaded."""

_LONGEST_POSITION = 10
"""Digits of a token's position that the front end sends."""

HINT = "Write a text and click Compute."
_WITH_TEXTS: frozenset[SectionName] = frozenset({"attention", "heads", "compare", "neighbours"})
"""The sections whose answer depends on the user's own texts."""


class ViewerPage(widgets.VBox):
    """The page; `NeuronViewer` adds what is called from Python.

    Controls may be used from any thread: one lock guards all that changes the page, and the threads that compute hold
    it only while they show what they computed.

    Args:
        source: where records and models come from.
        first: the component to show first.
        examples: how many top examples are shown.
        given_texts: for a model: the texts that it computes activations on, until the user writes one.
    """

    if TYPE_CHECKING:  # as a reader sees the traits, which nobody else sets

        @property
        def record(self) -> NeuronRecord | None:
            """The record that is shown; None before the first one."""

        @property
        def node(self) -> NodeIndex | None:
            """The neuron, head or latent that is shown, at all tokens; None before the first one."""

        @property
        def dataset(self) -> str:
            """The dataset or model of the record that is shown; empty before the first one."""

        @property
        def error(self) -> BaseException | None:
            """The error of the last load or computation; None if it succeeded."""

    else:
        record = traitlets.Instance(NeuronRecord, allow_none=True, read_only=True)
        node = traitlets.Instance(NodeIndex, allow_none=True, read_only=True)
        dataset = traitlets.Unicode("", read_only=True)
        error = traitlets.Instance(BaseException, allow_none=True, read_only=True)

    def __init__(
        self,
        source: RecordSource,
        first: NeuronChoice,
        examples: int,
        given_texts: tuple[str, ...],
    ) -> None:
        self._source = source
        self._given_texts = given_texts
        self._computes_records = source.is_of_model  # then a record needs a text
        self._lock = threading.RLock()
        self._loading = LatestOnly(source.load, weakly(self._loaded), lock=self._lock)
        self._computing = LatestOnly(partial(_computed_on_texts, source), weakly(self._computed), lock=self._lock)
        self._answering = LatestOnly(Answers(source).of, weakly(self._answered), lock=self._lock)
        self._noting = LatestOnly(partial(_explained, source), weakly(self._noted), lock=self._lock)
        self._texts = TextsShown()
        self._remembered = RememberedSections()
        self._opened: dict[SectionName, str] = {}
        self._shown: NeuronChoice | None = None
        self._texts_asked: tuple[str, ...] = ()  # of a dataset: one's own texts that are on view or on their way
        self._asked: SectionAsked | None = None
        self.controls = NeuronControls(
            source, first, examples, weakly(self._chosen), None if self._computes_records else weakly(self._render)
        )
        self.own_text = OwnText(weakly(self._compute_pressed), weakly(self._page_turned))
        self.status, self._view = widgets.HTML(), widgets.HTML(layout=widgets.Layout(width="100%"))
        scrolled = widgets.Box([self._view], layout=widgets.Layout(max_height="860px", overflow="auto"))
        calls = SectionCalls(
            opened=weakly(self._open_section),
            went=weakly(self._went),
            stopped=weakly(self._stop_section),
            explained=weakly(self._explain),
            forgot=weakly(self._forget),
        )
        self.sections = NodeSections(calls, scrolled)
        super().__init__([self.controls, self.status, self.own_text, self.sections])
        self.add_class("ne-viewer")

    # From a control to the page

    def _choice_of(self, layer: LayerOrNode) -> NeuronChoice:
        """The component of a name or an index, as `NeuronViewer.show` takes it."""
        return choice_asked(self._source, self.controls.choice, layer)

    def _acted(self, kind: str, node: str) -> None:
        """What a person did in the front end's module."""
        if kind == "open":
            self._went(node)
        elif kind == "token":
            if node.isascii() and node.isdigit() and len(node) < _LONGEST_POSITION:
                self.sections.attend(int(node))
        elif kind in ("layer_up", "layer_down"):
            now = self.controls.choice
            moved = self.controls.size.moved_layer(now, 1 if kind == "layer_up" else -1)
            if moved != now:
                self._went_to(moved)
        else:
            controls = self.controls
            star = controls.node_picker.bookmarks.star
            buttons = {
                "next": controls.next,
                "previous": controls.previous,
                "random": controls.random,
                "bookmark": star,
            }
            buttons[kind].click()

    def _went(self, name: str) -> None:
        """Go to a component that a section or the page names."""
        try:
            choice = self._choice_of(name)
        except NeuronExplainerError as error:
            with self._lock:
                self._fail(error)
            return
        self._went_to(choice)

    def _went_to(self, choice: NeuronChoice) -> None:
        self.controls.choose(choice)
        self._chosen(choice, False)

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
        if not _is_same(self.controls.choice, choice):  # two threads may have chosen in turn
            self.controls.choose(replace(choice, texts=()))
        self._show_record(choice, result)
        if self.record is not result or self._shown != choice:
            return  # an observer has chosen another one, which is on view
        self.status.value = self._shown_message(choice)
        can_compute = self._source.computes_texts(choice.dataset)
        self.own_text.layout.display = "" if can_compute else "none"
        if not can_compute:
            self._clear_texts()
        elif self._texts_asked:  # the text stays, so show this neuron's activations on it
            self.own_text.view.value = ""
            self._ask_texts(choice, self._texts_asked)
        self._open_section()

    def _show_record(self, choice: NeuronChoice, record: NeuronRecord) -> None:
        if self._shown != choice:
            self._opened.clear()
        if self._computes_records:
            self._texts.take(choice, record, None, self._beginning(choice), has_heading=True)
            page = self._texts.page(0)
            self.own_text.pages.show(0, self._texts.n_pages)
        else:
            page = self._examples(choice, record)
        self._shown = choice
        self._view.value = page
        self.sections.offer(record.is_by_token_pair)
        self._copy()
        with self.hold_trait_notifications():  # an observer of one finds the others as new
            self.set_trait("error", None)
            self.set_trait("dataset", choice.dataset_shown)
            self.set_trait("node", choice.node)
            self.set_trait("record", record)

    def _examples(self, choice: NeuronChoice, record: NeuronRecord) -> str:
        """The record's page, made once."""
        n = self.controls.examples.value
        asked = SectionAsked("examples", choice, record, SectionSettings(n=n))
        answer = self._remembered.find(asked)
        if answer is None:
            page = record_to_html(record, dst=choice.dst, dataset=choice.dataset_shown, examples=n)
            answer = SectionAnswer(page)
            self._remembered.keep(asked, answer)
        return answer.html

    def _render(self) -> None:
        if self.record is not None and self._shown is not None:
            self._show_record(self._shown, self.record)

    def _fail(self, error: BaseException) -> None:
        self.status.value = error_message(error, self._shown)
        self.set_trait("error", error)

    def _shown_message(self, choice: NeuronChoice) -> str:
        # Not the size in the controls, which may have another dataset, whose record could not be loaded.
        return shown_message(choice, self._source.size(choice.dataset, choice.dst))

    # Sections

    def _open_section(self) -> None:
        """Show the chosen section of the component on view: at once if it is remembered, else when it is computed."""
        with self._lock:
            task = self._section_task()
            if task is None:
                self._asked = None
                if self.sections.section == "examples" and self.record is not None:
                    self.set_trait("error", None)  # that of another section is not on view any more
                return
            self._asked = task  # so that what was asked before comes too late
            answer = self._remembered.find(task)
            if answer is not None:
                self._show_section(task, answer)
                return
            self.sections.busy()
        self._answering.submit(task)

    def _section_task(self) -> SectionAsked | None:
        """What the chosen section is asked; None if that is nothing."""
        panel = self.sections
        if self._shown is None or self.record is None or panel.section == "examples":
            return None
        if panel.is_waiting:
            panel.wait_for_words()
            return None
        # A model's habits are those on one's own texts; a dataset's are known.
        needs_texts = panel.section in _WITH_TEXTS or (panel.section == "search" and self._computes_records)
        choice = replace(self._shown, texts=self._texts_on_view if needs_texts else ())
        return SectionAsked(panel.section, choice, self.record, panel.settings)

    def _answered(self, task: SectionAsked, result: SectionAnswer | BaseException) -> None:
        if not isinstance(result, BaseException):
            self._remembered.keep(task, result)
        if task is not self._asked:
            return
        if isinstance(result, BaseException):
            self.sections.fail(result)
            self.set_trait("error", result)
        else:
            self._show_section(task, result)

    def _show_section(self, task: SectionAsked, answer: SectionAnswer) -> None:
        self.sections.show(answer, task.choice.name)
        self._opened[task.section] = answer.html
        self._copy()
        answer_while_busy(self)
        self.set_trait("error", None)

    def _stop_section(self) -> None:
        self._answering.stop()

    def _explain(self, text: str) -> None:
        self._note(lambda component: component.explanations.add(text))

    def _forget(self, text: str) -> None:
        self._note(lambda component: component.explanations.remove(text))

    def _note(self, change: Callable[[Component], None]) -> None:
        if self._shown is not None:
            self._noting.submit((self._shown, change))

    def _noted(self, _: object, result: BaseException | None) -> None:
        if isinstance(result, BaseException):
            self.sections.fail(result)
            self.set_trait("error", result)
        else:
            self._open_section()

    # The user's text

    def _compute_pressed(self) -> None:
        if self._computes_records:
            self._chosen(self.controls.choice, False)
        elif self._shown is not None:
            self._compute_own_text(self._shown)

    def _compute_own_text(self, shown: NeuronChoice) -> None:
        if not self.own_text.texts:
            self._clear_texts()
            self.status.value = hint_message(HINT)
            return
        self._ask_texts(shown, self.own_text.texts)

    def _ask_texts(self, shown: NeuronChoice, texts: tuple[str, ...], at_once: bool = False) -> None:
        self._texts_asked = texts
        choice = replace(shown, texts=texts)
        self.status.value = loading_message(choice)
        (self._computing.run if at_once else self._computing.submit)(choice)

    def _clear_texts(self) -> None:
        """Leave one's own texts, and what was shown on them."""
        self._texts_asked = ()
        self.own_text.view.value = ""
        self.own_text.pages.show(0, 1)
        self._forget_opened_on_texts()

    def _forget_opened_on_texts(self) -> None:
        for section in _WITH_TEXTS:
            self._opened.pop(section, None)

    @property
    def _texts_on_view(self) -> tuple[str, ...]:
        """One's own texts that the page shows; empty without any."""
        if self._shown is None or self._shown.texts:
            return () if self._shown is None else self._shown.texts
        return self._texts_asked if self.own_text.view.value else ()

    def _computed(self, choice: NeuronChoice, result: NeuronRecord | BaseException) -> None:
        """Show the activations on the user's text, or an error; what comes too late is dropped."""
        if self._shown is None or not _is_same(self._shown, choice) or choice.texts != self._texts_asked:
            return
        if isinstance(result, BaseException):
            self._clear_texts()
            self._fail(result)
            return
        self._forget_opened_on_texts()
        self._texts.take(choice, result, self.record, self._beginning(choice), has_heading=False)
        self.own_text.view.value = self._texts.page(0)
        self.own_text.pages.show(0, self._texts.n_pages)
        self.status.value = self._shown_message(choice)
        self._copy()
        self.set_trait("error", None)
        if self.sections.section in _WITH_TEXTS:
            self._open_section()

    def _page_turned(self, number: int) -> None:
        with self._lock:
            view = self._view if self._computes_records else self.own_text.view
            view.value = self._texts.page(number)
            self.own_text.pages.show(number, self._texts.n_pages)
            self._copy()

    def _beginning(self, choice: NeuronChoice) -> str:
        return self._source.live_model().beginning(choice.texts)

    def _copy(self) -> None:
        """Replace the static copy in the notebook."""


def _is_same(one: NeuronChoice, other: NeuronChoice) -> bool:
    """Whether both mean the same component."""
    return replace(one, texts=()) == replace(other, texts=())


def _computed_on_texts(source: RecordSource, choice: NeuronChoice) -> NeuronRecord:
    if source.given_model() is not None:
        source.component(choice)  # refuses a model that is not the dataset's
    return source.live_model().record(choice)


def _explained(source: RecordSource, asked: tuple[NeuronChoice, Callable[[Component], None]]) -> None:
    choice, change = asked
    change(source.component(choice))
