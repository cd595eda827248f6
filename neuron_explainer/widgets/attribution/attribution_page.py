"""What happens on a page: from a control to a computation, and back to the page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.computing.effects import longest_prompt
from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.attribution.exploring.explorer import Explorer
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError
from neuron_explainer.widgets.attribution.kept_page import KeptPage
from neuron_explainer.widgets.attribution.node_work import NodeCalls, NodeWork
from neuron_explainer.widgets.attribution.page_parts import Calls, PageParts
from neuron_explainer.widgets.attribution.page_state import PageState
from neuron_explainer.widgets.attribution.trail import Trail
from neuron_explainer.widgets.attribution.typed import Typed
from neuron_explainer.widgets.attribution.work.changes_shown import changes_of
from neuron_explainer.widgets.attribution.work.page_content import ChosenRows, PageContent, PageContents, PageTask
from neuron_explainer.widgets.attribution.work.page_work import (
    NodeTask,
    RowsTask,
    SectionTask,
    VerifyTask,
    picture_of,
    rows_of_task,
)
from neuron_explainer.widgets.attribution.work.table_choice import TableChoice
from neuron_explainer.widgets.busy_kernel import answer_while_busy
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.messages import error_message
from neuron_explainer.widgets.parts import filling
from neuron_explainer.widgets.weak_calls import weakly

if TYPE_CHECKING:
    import pandas

_TYPING_PAUSE = 0.2
"""Seconds without a change after which the rows of a typed filter are looked up."""


class AttributionPage(KeptPage):
    """The page; `AttributionViewer` adds what is called from Python.

    Controls may be used from any thread: one lock guards all that changes the page, and the threads that compute hold
    it only while they show what they computed.

    Args:
        explorer: finds the answers, and holds them.
        first: what is asked first.
        has_module: whether the front end's module is used where it can be loaded.
    """

    def __init__(self, explorer: Explorer, first: Exploration, has_module: bool) -> None:
        self._explorer = explorer
        self._lock = threading.RLock()
        self._trail: Trail[Exploration] = Trail()
        self._asking = LatestOnly(
            PageContents(explorer).of, weakly(self._answered), weakly(self._progressed), self._lock
        )
        self._tabling = LatestOnly(rows_of_task, weakly(self._listed), lock=self._lock)
        self._drawing = LatestOnly(picture_of, weakly(self._drawn), lock=self._lock)
        parts = PageParts(explorer.model, first, self._calls(), has_module)
        self.ask_panel, self.status, self.changes, self.top = parts.ask_panel, parts.status, parts.changes, parts.top
        self.sections, self.table = parts.sections, parts.table
        self.node_panel, self.keep = parts.node_panel, parts.keep
        super().__init__(parts.in_order(), layout=filling())
        self.add_class("ne-attribution-viewer")
        self._one_node = NodeWork(explorer.model, self.node_panel, self._node_calls(), self._lock)
        self._begin_copies()
        self._run(first)
        if self._content is None and self.error is not None:
            raise self.error

    def _calls(self) -> Calls:
        """What the controls call, each without keeping the page alive."""
        return Calls(
            asked=weakly(self._asked),
            back=weakly(self._go_back),
            forward=weakly(self._go_forward),
            stop=weakly(self._stop),
            leave_trace=weakly(self._leave_trace),
            compared=weakly(self._compare_pressed),
            switched=weakly(self._switched),
            removed=weakly(self._removed),
            section_chosen=weakly(self._section_chosen),
            table_chosen=weakly(self._table_chosen),
            opened=weakly(self._open_pressed),
            ablated=weakly(self._ablate_pressed),
            traced=weakly(self._trace_pressed),
            verified=weakly(self._verify_pressed),
            acted=weakly(self._acted),
            noted=weakly(self._noted),
            saved=weakly(self._save_pressed),
        )

    def _node_calls(self) -> NodeCalls:
        return NodeCalls(
            opened=weakly(self._node_opened),
            measured=weakly(self._measured),
            failed=weakly(self._fail),
            progressed=weakly(self._progressed),
        )

    @property
    def _now(self) -> Exploration:
        return self._shown.explored.asked

    # Asking

    def _run(self, asked: Exploration, place: int | None = None, fills_in: bool = False) -> None:
        """Ask in this thread."""
        self._asking.run(PageTask(asked, self.sections.choice, self.table.choice, place, fills_in))

    def _restore(self, state: PageState) -> None:
        """Show what a page showed, in this thread."""
        self._asking.run(PageTask(state.asked, state.section, state.table, fills_in=True, restores=state))

    def _submit(self, asked: Exploration, place: int | None = None, fills_in: bool = False) -> None:
        """Ask in the background."""
        with self._lock:
            self.status.busy("Computing …")
            self._asking.submit(PageTask(asked, self.sections.choice, self.table.choice, place, fills_in))

    def _progressed(self, fraction: float) -> None:
        self.status.tell(fraction)

    def _answered(self, task: PageTask, result: PageContent | BaseException) -> None:
        """Show an answer, or an error beside the answer that is shown."""
        if isinstance(result, BaseException):
            self._fail(result)
            return
        self._content = result
        asked, why = result.explored.asked, result.explored.why
        if task.place is None:
            self._trail.visit(asked)
        else:
            self._trail.move_to(task.place)
        if task.fills_in:
            self.ask_panel.show(result.drawn.typed)
        state = task.restores
        if state is not None:
            self.sections.choose(state.section)
            self.keep.notes.value = state.notes
            if not state.node:
                self._one_node.leave()
        self.top.value = result.drawn.top
        self.sections.head.options = result.drawn.heads
        self.sections.view.value = result.section(self.sections.choice)
        self.table.fit(self._explorer.model.n_layers, why.effects[0].prompt.token_strings)
        if state is not None:
            self.table.choose(state.table)
        self._show_rows(result, None if state is None else state.table)
        if self.table.choice != task.table:  # chosen meanwhile, or this answer does not have what is chosen
            self._tabling.submit(RowsTask(result, self.table.choice))
        self._show_asked(result)
        self.keep.code.value = result.drawn.code
        self.status.can_go(self._trail.ahead(-1) is not None, self._trail.ahead(1) is not None)
        self.status.idle(f"Showing {result.summary}")
        self._copy()
        self._one_node.show(result)
        answer_while_busy(self)
        # Last, because observers may fail, and may ask for something else.
        with self.hold_trait_notifications():  # an observer of one finds the others as new
            self.set_trait("error", None)
            self.set_trait("node", self._one_node.node)
            self.set_trait("comparison", result.explored.comparison)
            self.set_trait("attribution", why)

    def _show_asked(self, content: PageContent) -> None:
        """Show what can be taken back: ablations, a trace, the second prompt."""
        self.changes.show(changes_of(content.explored))
        self.status.show(content.explored.asked)

    def _fail(self, error: BaseException) -> None:
        self.status.fail(error, None if self._content is None else self._content.title)
        if self._content is not None:
            self._show_asked(self._content)
        self.set_trait("error", error)

    def _asked(self, typed: Typed) -> None:
        self._try(lambda: self._submit(self._exploration_of(typed)))

    def _exploration_of(self, typed: Typed) -> Exploration:
        """What is asked with these fields; ablations and traces stay where the question itself is the same."""
        content = self._shown
        now, shown = content.explored.asked, content.drawn.typed
        # A second prompt may have another form than the first, which the fields cannot say.
        is_other_kept = (typed.other, typed.form) == (shown.other, shown.form)
        (prompt, other), answers = (replace(typed, other="") if is_other_kept else typed).prompts, typed.answers
        other = now.other_prompt if is_other_kept else other
        if (now.prompt, now.target, now.distractor) != (prompt, *answers):
            return now.asked(prompt, *answers, other)
        return replace(now, other_prompt=other, is_compared=now.is_compared and other is not None)

    def _compare_pressed(self) -> None:
        self._submit(self._now.compared(self.status.compares.value))

    def _leave_trace(self) -> None:
        self._submit(self._now.without_last_trace())

    def _go_back(self) -> None:
        self._move(-1)

    def _go_forward(self) -> None:
        self._move(1)

    def _move(self, step: int, at_once: bool = False) -> None:
        with self._lock:
            found = self._trail.ahead(step)
        if found is not None:
            place, asked = found
            (self._run if at_once else self._submit)(asked, place, True)

    def _stop(self) -> None:
        for work in (self._asking, self._one_node.verifying):
            work.stop()

    # Changes

    def _switched(self, number: int) -> None:
        self._try(lambda: self._submit(self._now.switched(number)))  # a hurried click may come too late

    def _removed(self, number: int) -> None:
        self._try(lambda: self._submit(self._now.without_change(number)))

    def _ablate_pressed(self) -> None:
        self._try(lambda: self._submit(self._now.with_change(self._typed_node(), self.node_panel.asked_value)))

    def _trace_pressed(self) -> None:
        self._try(self._trace_typed)

    def _trace_typed(self) -> None:
        node = self._typed_node()
        through = self.node_panel.asked_through if NodeName.parse(node).kind is NodeKind.HEAD else None
        downstream = (self.node_panel.downstream.value.strip() or None) if through == "v" else None
        self._submit(self._now.traced(node, through, downstream))

    def _verify_pressed(self) -> None:
        self._try(lambda: self._verify((self._typed_node(),)))

    def _verify(self, nodes: tuple[str, ...]) -> None:
        with self._lock:
            self.status.busy(f"Verifying {', '.join(nodes)} …")
            self._one_node.verifying.submit(VerifyTask(self._shown, nodes))

    def _measured(self, content: PageContent) -> None:
        self.status.idle(f"Showing {content.summary}")
        self._show_rows(content)
        self.set_trait("error", None)

    def _open_pressed(self) -> None:
        self._try(lambda: self._open(self._typed_node()))

    def _open(self, node: str, at_once: bool = False) -> None:
        work, task = self._one_node.opening, NodeTask(self._shown, node)
        (work.run if at_once else work.submit)(task)

    def _node_opened(self, node: str) -> None:
        """Let the row and the picture of one head's attention be those of a node that is opened."""
        if self.table.rows is not None:
            self.table.rows.chosen = node
        name = NodeName.parse(node)
        if name.kind is NodeKind.HEAD:
            choice = replace(self.sections.choice, head=str(replace(name, token=None, attended_to=None)))
            if choice != self.sections.choice:
                self.sections.choose(choice)
                self._section_chosen()
        self.set_trait("error", None)
        self.set_trait("node", node)

    def _try(self, action: Callable[[], None]) -> None:
        """Do what a control says; what is wrong with it is shown on the page."""
        try:
            action()
        except NeuronExplainerError as error:
            with self._lock:
                self._fail(error)

    def _typed_node(self) -> str:
        """The name of the node in the field; at all tokens if that is ticked."""
        text = self.node_panel.node.value.strip()
        if not text:
            raise InvalidRequestError("The field of the node is empty. Write a name, such as L2H3, or choose a row.")
        name = NodeName.parse(text, tokens=longest_prompt(self._shown.explored.why.effects).token_strings)
        return str(replace(name, token=None, attended_to=None) if self.node_panel.everywhere.value else name)

    def _acted(self, kind: str, node: str) -> None:
        """What a person did in the front end's module."""
        if kind == "ask":
            self._asked(self.ask_panel.typed)
            return
        if kind == "token":
            if node.isascii() and node.isdigit():
                self.table.choose(replace(self.table.choice, token=int(node)))
                self._table_chosen()
            return
        if node:
            self.node_panel.node.value = node
        {
            "ablate": self._ablate_pressed,
            "trace": self._trace_pressed,
            "verify": self._verify_pressed,
            "open": self._open_pressed,
            "back": self._go_back,
            "forward": self._go_forward,
        }[kind]()

    # Pictures and rows

    def _section_chosen(self) -> None:
        if self._content is not None:
            self._drawing.submit(SectionTask(self._content, self.sections.choice))

    def _drawn(self, task: SectionTask, result: str | BaseException) -> None:
        if task.content is self._content:
            self.sections.view.value = error_message(result, None) if isinstance(result, BaseException) else result

    def _table_chosen(self, is_typed: bool = False) -> None:
        if self._content is not None:
            pause = _TYPING_PAUSE if is_typed else 0.0
            self._tabling.submit(RowsTask(self._content, self.table.choice), pause)

    def _listed(self, task: RowsTask, result: pandas.DataFrame | BaseException) -> None:
        if task.content is not self._content:
            return
        if isinstance(result, BaseException):
            self.table.fail(error_message(result, None))
            return
        task.content.take_rows(ChosenRows(task.choice, result))
        self._show_rows(task.content)

    def _show_rows(self, content: PageContent, choice: TableChoice | None = None) -> None:
        """Show an answer's rows; sorted as is chosen, if a choice is given, else as the fields say."""
        frame = content.frame_with_measurements()
        self.table.show(frame, self._one_node.node, None if choice is None else choice.column)
        self.table.fail(content.rows.problem)
        self.node_panel.suggest(frame["name"].head(200).tolist())
