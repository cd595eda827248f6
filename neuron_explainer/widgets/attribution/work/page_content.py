"""What a page shows of an answer, computed away from the widgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neuron_explainer.attribution.exploring.code import code_of
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.attribution.comparison import comparison_top_html
from neuron_explainer.views.attribution.one_node.node_page import node_html
from neuron_explainer.views.attribution.page import answer_top_html
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.widgets.attribution.typed import Typed
from neuron_explainer.widgets.attribution.work.last_made import LastMade
from neuron_explainer.widgets.attribution.work.sections import SectionChoice, section_html
from neuron_explainer.widgets.attribution.work.table_choice import TableChoice, chosen_rows
from neuron_explainer.widgets.messages import error_message, hint_message

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.attribution.exploring.exploration import Exploration
    from neuron_explainer.attribution.exploring.explorer import Explored, Explorer
    from neuron_explainer.widgets.attribution.page_state import PageState


_N_ANSWERS, _N_PARTS = 16, 8
"""Of how many answers what was made is kept, and how many pictures and nodes of each."""


@dataclass(frozen=True)
class PageTask:
    """An answer that is asked for.

    Attributes:
        asked: what is asked.
        section, table: what is shown of it.
        place: its place among the answers that were visited; None for a new one.
        fills_in: whether the fields are to say what is asked.
        restores: the state that the page is to show; None to leave everything else as it is.
    """

    asked: Exploration
    section: SectionChoice
    table: TableChoice
    place: int | None = None
    fills_in: bool = False
    restores: PageState | None = None


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """The rows of the node table.

    Attributes:
        choice: which were asked for.
        frame: the rows.
        problem: why those could not be had; HTML, empty if they could.
    """

    choice: TableChoice
    frame: pandas.DataFrame
    problem: str = ""


@dataclass(eq=False)
class Drawn:
    """What was made of an answer. The answer itself is not in it, so that its tensors can make room for others.

    Attributes:
        typed: what a person would have typed to ask for it.
        top: the question, the prediction and the sum; HTML.
        code: the Python that gives the answer.
        heads: the names of its heads, those with the largest direct effects first.
        rows: the rows that were asked for last.
        sections: the pictures that were drawn last; HTML.
        nodes: the nodes that were opened last, by name; HTML.
        verified: what was measured, as `verify` gives it; None before anything was.
    """

    typed: Typed
    top: str
    code: str
    heads: list[str]
    rows: ChosenRows
    sections: LastMade[SectionChoice, str] = field(default_factory=lambda: LastMade(_N_PARTS))
    nodes: LastMade[str, str] = field(default_factory=lambda: LastMade(_N_PARTS))
    verified: pandas.DataFrame | None = None


@dataclass(eq=False)
class PageContent:
    """An answer with what the page shows of it, and the rows of the table."""

    explored: Explored
    drawn: Drawn
    rows: ChosenRows

    @property
    def title(self) -> str:
        """What the answer is about, in words."""
        return self.explored.why.inquiry.title

    @property
    def summary(self) -> str:
        """The title with the number; what it was without ablations, and what it is in the second prompt."""
        explored = self.explored
        words = f"{self.title} = {format_value(explored.why.value)}"
        if len(explored.values) > 1 and not explored.asked.traces:
            words += f"; {format_value(explored.values[0])} without ablations"
        if explored.other is not None:
            words += f"; {format_value(explored.other.value)} in the 2nd prompt"
        return words

    def section(self, choice: SectionChoice) -> str:
        """A picture. Of what cannot be drawn, the reason."""
        return self.drawn.sections.of(choice, lambda: self._section(choice))

    def _section(self, choice: SectionChoice) -> str:
        try:
            picture = section_html(self.explored.why, choice)
        except NeuronExplainerError as error:
            return error_message(error, None)
        if self.explored.comparison is None:
            return picture
        return hint_message("The picture is of the first prompt.") + picture

    def node(self, name: str) -> str:
        """What is known of a node; HTML.

        Raises:
            NeuronExplainerError: the answer has no such node.
        """
        return self.drawn.nodes.of(name, lambda: node_html(self.explored.why, name, verified=self.drawn.verified))

    def take_rows(self, rows: ChosenRows) -> None:
        """Have other rows in the table."""
        self.rows = self.drawn.rows = rows

    def measured(self, rows: pandas.DataFrame) -> None:
        """Note what was measured; a node that was measured before is replaced."""
        import pandas

        before = self.drawn.verified
        both = rows if before is None else pandas.concat([before, rows])
        self.drawn.verified = both[~both["name"].duplicated(keep="last")]
        self.drawn.nodes = LastMade(_N_PARTS)  # a thread may still add one without it to the old ones

    def frame_with_measurements(self) -> pandas.DataFrame:
        """The rows of the table, with what was measured beside the total effects, which are the estimates of it."""
        frame, verified = self.rows.frame, self.drawn.verified
        if verified is None or self.explored.comparison is not None:
            return frame
        both = frame.merge(verified[["name", "measured"]], on="name", how="left")
        both.index = frame.index
        return both


class PageContents:
    """What a page shows of answers; what it made of the last ones is made once.

    Args:
        explorer: finds the answers.
    """

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._drawn: LastMade[Exploration, Drawn] = LastMade(_N_ANSWERS)

    def of(self, task: PageTask) -> PageContent:
        """Compute an answer and what the page shows of it.

        Raises:
            NeuronExplainerError: the question has no answer.
        """
        explored = self._explorer.answer(task.asked)
        drawn = self._drawn.of(task.asked, lambda: self._first_drawn(task, explored))
        is_same = drawn.rows.choice == task.table
        content = PageContent(explored, drawn, drawn.rows if is_same else _rows(explored, task.table))
        content.section(task.section)
        drawn.rows = content.rows
        return content

    def _first_drawn(self, task: PageTask, explored: Explored) -> Drawn:
        why, both = explored.why, explored.comparison
        top = answer_top_html(why) if both is None else comparison_top_html(both)
        heads = why.heads()["name"].tolist()
        return Drawn(Typed.of(task.asked), top, code_of(task.asked, self._explorer), heads, _rows(explored, task.table))


def _rows(explored: Explored, choice: TableChoice) -> ChosenRows:
    """The rows that are asked for; if the answer does not have them, those of a page that begins, and the reason."""
    try:
        return ChosenRows(choice, chosen_rows(explored, choice))
    except NeuronExplainerError as error:  # such as a token that the new prompt does not have
        return ChosenRows(choice, chosen_rows(explored, TableChoice()), error_message(error, None))
