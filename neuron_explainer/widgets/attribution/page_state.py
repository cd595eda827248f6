"""The state of a page as JSON values, to keep it and to give it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.vocabulary.checks import checked_text
from neuron_explainer.widgets.attribution.work.sections import Section, SectionChoice
from neuron_explainer.widgets.attribution.work.table_choice import TableChoice

FORMAT = 1
_ENTRIES = ("format", "asked", "table", "section", "head", "skips_first", "node", "notes")


@dataclass(frozen=True)
class PageState:
    """What a page shows, apart from the model.

    Attributes:
        asked: the question, with ablations, traces and the second prompt.
        table: which nodes the table shows.
        section: which picture is on view.
        node: the name of the node that is open; empty without one.
        notes: what a person wrote.
    """

    asked: Exploration
    table: TableChoice = field(default_factory=TableChoice)
    section: SectionChoice = field(default_factory=SectionChoice)
    node: str = ""
    notes: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "format": FORMAT,
            "asked": self.asked.to_json(),
            "table": self.table.to_json(),
            "section": self.section.section.value,
            "head": self.section.head,
            "skips_first": self.section.skips_first,
            "node": self.node,
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, values: object) -> PageState:
        """From JSON values, which are checked.

        Raises:
            InvalidRequestError: they are not what `to_json` gives.
        """
        if not isinstance(values, Mapping):
            raise InvalidRequestError(f"state is {shown(values)}. Give an object, as viewer.state has it.")
        unknown = sorted(set(map(str, values)) - set(_ENTRIES))
        if unknown:
            raise InvalidRequestError(
                f"state has the unknown entry {shown(unknown[0])}. Choose from: {', '.join(_ENTRIES)}."
            )
        if values.get("format") != FORMAT:
            raise InvalidRequestError(
                f"state has the format {shown(values.get('format'))}. This version reads {FORMAT}."
            )
        if "asked" not in values:
            raise InvalidRequestError("state has no entry asked, which says what is asked.")
        names = [section.value for section in Section]
        section = values.get("section", Section.TOKENS.value)
        if section not in names:
            raise InvalidRequestError(f"section is {shown(section)}. Choose one of: {', '.join(names)}.")
        skips_first = values.get("skips_first", False)
        if not isinstance(skips_first, bool):
            raise InvalidRequestError(f"skips_first is {shown(skips_first)}. Give true or false.")
        return cls(
            Exploration.from_json(values["asked"]),
            TableChoice.from_json(values.get("table", {})),
            SectionChoice(Section(section), _text(values, "head"), skips_first),
            _text(values, "node"),
            _text(values, "notes"),
        )


def _text(values: Mapping[str, Any], name: str) -> str:
    return checked_text(name, values.get(name, ""))
