"""The node that is open on a page: its numbers in the answer, its record, and what verifying nodes gives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ipywidgets as widgets

from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.widgets.attribution.panels.node_panel import NodePanel
from neuron_explainer.widgets.attribution.work.page_content import PageContent
from neuron_explainer.widgets.attribution.work.page_work import NodeTask, VerifyTask, node_of, verification_of
from neuron_explainer.widgets.attribution.work.records import Record, RecordTask, RecordViewers
from neuron_explainer.widgets.busy_kernel import answer_while_busy
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.messages import error_message, hint_message
from neuron_explainer.widgets.weak_calls import weakly

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class NodeCalls:
    """What is told to the page.

    Attributes:
        opened: a node is on view, by its name.
        measured: nodes of an answer were verified.
        failed: a node cannot be opened or verified.
        progressed: how much of a verification is done, from 0 to 1.
    """

    opened: Callable[[str], None]
    measured: Callable[[PageContent], None]
    failed: Callable[[BaseException], None]
    progressed: Callable[[float], None]


class NodeWork:
    """Opens nodes in the background.

    Args:
        model: the model.
        panel: where nodes are shown.
        calls: what is told to the page.
        lock: the page's lock.
    """

    def __init__(self, model: ModelContext, panel: NodePanel, calls: NodeCalls, lock: threading.RLock) -> None:
        self.node = ""
        self.content: PageContent | None = None
        """The answer on view."""
        self._panel, self._calls = panel, calls
        self.opening = LatestOnly(node_of, weakly(self._opened), lock=lock)
        self._records = RecordViewers(model)
        self._about = widgets.HTML()
        self.recording = LatestOnly(self._records.showing, weakly(self._recorded), lock=lock)
        self.verifying = LatestOnly(verification_of, weakly(self._measured), calls.progressed, lock)

    def show(self, content: PageContent) -> None:
        """Show the open node in another answer."""
        self.content = content
        if self.node:
            self.opening.submit(NodeTask(content, self.node))

    def leave(self) -> None:
        """Show no node."""
        self.node = self._panel.details.value = ""
        self._panel.record.children = ()

    def close(self) -> None:
        """Close what was made for records, on view or not. No more is made."""
        self._records.close()
        for each in (self._about.layout, self._about.style, self._about):
            each.close()

    def _opened(self, task: NodeTask, result: str | BaseException) -> None:
        if task.content is not self.content:
            return
        is_new = task.node != self.node
        if isinstance(result, BaseException):
            if is_new:
                self._calls.failed(result)
            else:  # the new answer does not have the node that is open
                self._panel.details.value = hint_message(f"{task.node} is not in the answer on view: {result}")
            return
        self._panel.details.value = result
        if is_new:
            self.node = self._panel.node.value = task.node
            self.recording.submit(RecordTask(task.node, task.content.explored.asked.prompt))
            self._calls.opened(task.node)

    def _recorded(self, task: RecordTask, result: Record | BaseException) -> None:
        if task.node != self.node:
            return
        record = Record(error_message(result, None)) if isinstance(result, BaseException) else result
        self._about.value = record.about
        self._panel.record.children = [*([self._about] if record.about else []), *record.viewers]
        answer_while_busy(self._panel)

    def _measured(self, task: VerifyTask, result: pandas.DataFrame | BaseException) -> None:
        if isinstance(result, BaseException):
            self._calls.failed(result)
            return
        task.content.measured(result)
        if task.content is self.content:
            self._calls.measured(task.content)
            self.opening.submit(NodeTask(task.content, self.node or task.nodes[0]))
