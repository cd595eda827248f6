"""What a page computes of the answer on view when a person asks for it: rows, pictures, nodes, measurements."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from neuron_explainer.views.attribution.page import attribution_document, attribution_html
from neuron_explainer.widgets.attribution.work.changes_shown import changes_of
from neuron_explainer.widgets.attribution.work.page_content import PageContent
from neuron_explainer.widgets.attribution.work.sections import SectionChoice
from neuron_explainer.widgets.attribution.work.table_choice import TableChoice, chosen_rows

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class RowsTask:
    """Other rows of the table."""

    content: PageContent
    choice: TableChoice


@dataclass(frozen=True)
class SectionTask:
    """Another picture."""

    content: PageContent
    choice: SectionChoice


@dataclass(frozen=True)
class NodeTask:
    """A node that is opened."""

    content: PageContent
    node: str


@dataclass(frozen=True)
class StaticTask:
    """The page as static HTML, with a person's notes."""

    content: PageContent
    notes: str


@dataclass(frozen=True)
class VerifyTask:
    """Nodes that are taken out, one at a time."""

    content: PageContent
    nodes: tuple[str, ...]


def rows_of_task(task: RowsTask) -> pandas.DataFrame:
    """The rows."""
    return chosen_rows(task.content.explored, task.choice)


def picture_of(task: SectionTask) -> str:
    """The picture, as HTML."""
    return task.content.section(task.choice)


def node_of(task: NodeTask) -> str:
    """What is known of the node in this answer, as HTML."""
    return task.content.node(task.node)


def static_page(task: StaticTask) -> str:
    """The page as static HTML."""
    return attribution_html(task.content.explored.why, **_beside_the_answer(task))


def static_document(task: StaticTask) -> str:
    """The page as a complete HTML file."""
    return attribution_document(task.content.explored.why, **_beside_the_answer(task))


def _beside_the_answer(task: StaticTask) -> dict[str, Any]:
    """What the page shows beside the answer."""
    explored = task.content.explored
    return {
        "comparison": explored.comparison,
        "changes": [astuple(change) for change in changes_of(explored)],
        "notes": task.notes,
        "code": task.content.drawn.code,
    }


def verification_of(task: VerifyTask) -> pandas.DataFrame:
    """Estimates beside what really happens."""
    return task.content.explored.why.verify(list(task.nodes))
