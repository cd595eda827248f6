"""The pictures of an answer that a person switches between."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.head_map import head_map
from neuron_explainer.views.attribution.layer_map import layer_map_html
from neuron_explainer.views.attribution.node_tables import component_section
from neuron_explainer.views.attribution.pattern import pattern_grid_html, pattern_html
from neuron_explainer.views.attribution.token_effects import token_effects
from neuron_explainer.views.document import card

if TYPE_CHECKING:
    from neuron_explainer.attribution.attribution import Attribution


class Section(Enum):
    """The pictures."""

    TOKENS = "By token"
    HEADS = "Heads"
    LAYERS = "Layers × tokens"
    PATTERN = "One head's attention"
    PATTERNS = "All attention"


@dataclass(frozen=True)
class SectionChoice:
    """Which picture is on view.

    Attributes:
        section: the picture.
        head: the head whose attention is shown; the one with the largest direct effect if empty.
        skips_first: whether attention to the first token is left out.
    """

    section: Section = Section.TOKENS
    head: str = ""
    skips_first: bool = False


def section_html(why: Attribution, choice: SectionChoice) -> str:
    """A picture of an answer as HTML.

    Raises:
        NodeNameError, InvalidRequestError: the answer does not have the head.
    """
    match choice.section:
        case Section.TOKENS:
            return card(token_effects(why))
        case Section.HEADS:
            return card(head_map(why.heads()) + component_section(why))
        case Section.LAYERS:
            return layer_map_html(why)
        case Section.PATTERN:
            return pattern_html(why, choice.head or largest_head(why), choice.skips_first)
        case Section.PATTERNS:
            return pattern_grid_html(why, choice.skips_first, choice.head or None)


def largest_head(why: Attribution) -> str:
    """The name of the head with the largest direct effect; of the first head if none has one."""
    frame = why.heads(1)
    return str(frame["name"].iloc[0]) if len(frame) else "L0H0"
