"""What a page shows of an answer, computed away from the widgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from neuron_explainer.attribution.exploring.code import code_of
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.attribution.comparison import comparison_top_html
from neuron_explainer.views.attribution.page import answer_top_html
from neuron_explainer.widgets.attribution.typed import Typed
from neuron_explainer.widgets.attribution.work.sections import SectionChoice, section_html
from neuron_explainer.widgets.attribution.work.table_choice import TableChoice, chosen_rows
from neuron_explainer.widgets.messages import error_message

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.attribution.exploring.exploration import Exploration
    from neuron_explainer.attribution.exploring.explorer import Explored, Explorer
    from neuron_explainer.widgets.attribution.page_state import PageState


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


@dataclass(eq=False)
class PageContent:
    """An answer with what the page shows of it.

    Attributes:
        explored: the answer.
        typed: what a person would have typed to ask for it.
        top: the question, the prediction and the sum; HTML.
        code: the Python that gives it.
        frame: the rows of the node table.
        problem: why the rows could not be had; HTML, empty if they could.
        sections: the pictures that were drawn; HTML.
        verified: what was measured, as `verify` gives it; None before anything was.
    """

    explored: Explored
    typed: Typed
    top: str
    code: str
    frame: pandas.DataFrame
    problem: str = ""
    sections: dict[SectionChoice, str] = field(default_factory=dict)
    verified: pandas.DataFrame | None = None

    @property
    def title(self) -> str:
        """What the answer is about, in words."""
        return self.explored.why.inquiry.title

    @cached_property
    def heads(self) -> list[str]:
        """The names of the answer's heads, those with the largest direct effects first."""
        names: list[str] = self.explored.why.heads()["name"].tolist()
        return names

    def section(self, choice: SectionChoice) -> str:
        """A picture; drawn once. Of what cannot be drawn, the reason."""
        if choice not in self.sections:
            try:
                self.sections[choice] = section_html(self.explored.why, choice)
            except NeuronExplainerError as error:
                self.sections[choice] = error_message(error, None)
        return self.sections[choice]

    def measured(self, rows: pandas.DataFrame) -> None:
        """Note what was measured; a node that was measured before is replaced."""
        import pandas

        both = rows if self.verified is None else pandas.concat([self.verified, rows])
        self.verified = both[~both["name"].duplicated(keep="last")]

    def frame_with_measurements(self) -> pandas.DataFrame:
        """The rows of the table, with estimates beside measurements where nodes were verified."""
        frame, verified = self.frame, self.verified  # other threads may set others meanwhile
        if verified is None or self.explored.comparison is not None:
            return frame
        both = frame.merge(verified[["name", "estimate", "measured"]], on="name", how="left")
        both.index = frame.index
        return both


def page_content_of(explorer: Explorer, task: PageTask) -> PageContent:
    """Compute an answer and what the page shows of it.

    Raises:
        NeuronExplainerError: the question has no answer.
    """
    explored = explorer.answer(task.asked)
    problem = ""
    try:
        frame = chosen_rows(explored, task.table)
    except NeuronExplainerError as error:  # such as a token that the new prompt does not have
        problem = error_message(error, None)
        frame = chosen_rows(explored, TableChoice())
    both = explored.comparison
    top = answer_top_html(explored.why) if both is None else comparison_top_html(both)
    content = PageContent(explored, Typed.of(task.asked), top, code_of(task.asked, explorer), frame, problem)
    # What may take long, or fail, is done before anything of the answer is on view.
    content.section(task.section)
    _ = content.heads
    return content
