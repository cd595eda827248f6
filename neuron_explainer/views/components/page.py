"""The page of one neuron, head or latent: what is at hand of all that is known about it, as static HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.components.component import Component
from neuron_explainer.views.attribution.cells import Links, node_mark
from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.components.directions import N_NEIGHBOURS, directions_section, neighbours_beside
from neuron_explainer.views.components.explanations import explanations_section
from neuron_explainer.views.components.parts import SMALL, part
from neuron_explainer.views.components.statistics import statistics_sections
from neuron_explainer.views.document import card
from neuron_explainer.views.heatmap import DEFAULT_WIDTH
from neuron_explainer.views.record_page import record_sections
from neuron_explainer.views.token_text import escaped
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    pass

_N_EXAMPLES = 6


def component_html(component: Component, *, examples: int = _N_EXAMPLES) -> str:
    """All that is at hand about a component, as self-contained static HTML.

    What it lacks a model, a dataset or the network for is left out, with the reason.

    Args:
        component: the component.
        examples: how many top examples are shown.

    Raises:
        InvalidRequestError: `examples` is not a whole number above 0.

    >>> import neuron_explainer as ne
    >>> html = component_html(ne.component("tiny", "L2N5"))
    """
    n_examples = checked_number("examples", examples)
    record = record_part(component, n_examples, DEFAULT_WIDTH)
    before, after = sections_around_record(component)
    return card("".join([_heading(component), *before, record, *after]), "ne-component")


def sections_around_record(
    component: Component, links: Links | None = None, n_neighbours: int = N_NEIGHBOURS
) -> tuple[list[str], list[str]]:
    """The sections of a component's page above those of its record, and those below.

    Args:
        component: the component.
        links: the addresses of its neighbours' pages; None: without links.
        n_neighbours: how many neighbours of each sort are shown.
    """
    before = [part("Explanations", lambda: explanations_section(component.explanations)), directions_section(component)]
    statistics = part("Statistics", lambda: statistics_sections(component.statistics), is_quiet=True)
    return before, [statistics, neighbours_beside(component, n_neighbours, links)]


def record_part(component: Component, examples: int, width: int | None) -> str:
    """The sections of a component's record, or why they are missing.

    Args:
        component: the component.
        examples: how many top examples are shown.
        width: how many tokens of an example are shown; None: all.
    """
    return part("Statistics and examples", lambda: record_sections(component.record, examples, width))


def _heading(component: Component) -> str:
    kind = component_kind(component.dst)
    words = f"{kind} {component.index} of layer {component.layer}"
    about = " · ".join(
        escaped(text)
        for text in (component.at_hand.dataset, _model_name(component), component.dst.value)
        if text is not None
    )
    return (
        f'<div role="heading" aria-level="3" style="font-size:19px"><b {node_mark(str(component.name))}>'
        f'{escaped(str(component.name))}</b> <span style="font-size:15px">{escaped(words)}</span></div>'
        f'<div style="{SMALL}">{about}</div>'
    )


def _model_name(component: Component) -> str | None:
    given = component.at_hand.given
    if given is None:
        return None
    name = component.model("page").model_name
    return None if name == component.at_hand.dataset else name
