"""The page of one neuron, head or latent: what is at hand of all that is known about it, as static HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.components.component import Component
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.attribution.cells import Links, frame_html, node_mark, section, side_by_side
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.components.explanations import explanations_section
from neuron_explainer.views.components.statistics import statistics_sections
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import DEFAULT_WIDTH, format_value
from neuron_explainer.views.record_page import record_sections
from neuron_explainer.views.token_text import escaped
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas

_N_TOKENS, _N_PAIRS, _N_NEIGHBOURS, _N_EXAMPLES = 8, 8, 6, 6
_SMALL = f"color:{MUTED};font-size:12px"
_WRITES = "logits per unit of activation, minus their mean; scales of norms left at 1"
_READS = "pre-activation where a token's embedding alone is the residual stream"
_WRITTEN_PAIRS = "attended-to token and output token: logits per unit of attention, minus their mean"
_READ_PAIRS = "attending and attended-to token, one apart: attention logits"


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
    component: Component, links: Links | None = None, n_neighbours: int = _N_NEIGHBOURS
) -> tuple[list[str], list[str]]:
    """The sections of a component's page above those of its record, and those below.

    Args:
        component: the component.
        links: the addresses of its neighbours' pages; None: without links.
        n_neighbours: how many neighbours of each sort are shown.
    """
    before = [_part("Explanations", lambda: explanations_section(component.explanations)), _directions(component)]
    statistics = _part("Statistics", lambda: statistics_sections(component.statistics), is_quiet=True)
    return before, [statistics, *_neighbours(component, links, n_neighbours)]


def record_part(component: Component, examples: int, width: int | None) -> str:
    """The sections of a component's record, or why they are missing.

    Args:
        component: the component.
        examples: how many top examples are shown.
        width: how many tokens of an example are shown; None: all.
    """
    return _part("Statistics and examples", lambda: record_sections(component.record, examples, width))


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
        f'<div style="{_SMALL}">{about}</div>'
    )


def _model_name(component: Component) -> str | None:
    given = component.at_hand.given
    if given is None:
        return None
    name = component.model("page").model_name
    return None if name == component.at_hand.dataset else name


def _part(title: str, content: Callable[[], str], note: str = "", *, is_quiet: bool = False) -> str:
    """A section, or why it is missing; a quiet one, whose reason another section has given, is left out then."""
    try:
        return content()
    except (NeuronExplainerError, OSError) as error:
        return "" if is_quiet else section(title, f'<div style="{_SMALL}">{escaped(str(error))}</div>', note)


def _directions(component: Component) -> str:
    """What it writes beside what it reads."""
    if component.kind is NodeKind.HEAD:
        written = _part("What it writes", lambda: _pairs(component, "writes", _WRITTEN_PAIRS))
        read = _part("What it attends to", lambda: _pairs(component, "reads", _READ_PAIRS), is_quiet=True)
    else:
        written = _part("What it writes", lambda: _tokens(component, "writes", _WRITES))
        read = _part("What it reads", lambda: _tokens(component, "reads", _READS), is_quiet=True)
    return side_by_side(written, read)


def _tokens(component: Component, what: str, note: str) -> str:
    frame: pandas.DataFrame = getattr(component, what)(_N_TOKENS)
    columns = [name for name in frame.columns if name != "token_id"]
    title = "What it writes" if what == "writes" else "What it reads"
    return section(title, f'<div style="{_SMALL}">{escaped(note)}</div>{_highest_and_lowest(frame, columns)}')


def _pairs(component: Component, what: str, note: str) -> str:
    frame: pandas.DataFrame = getattr(component, what)(_N_PAIRS)
    columns = [name for name in frame.columns if not name.endswith("_id")]
    title = "What it writes" if what == "writes" else "What it attends to"
    about = f"{note}; among {frame.attrs['tokens']}"
    if what == "writes":
        about += f". Copying score {format_value(component.copying_score)}"
    return section(title, f'<div style="{_SMALL}">{escaped(about)}</div>{_highest_and_lowest(frame, columns)}')


def _highest_and_lowest(frame: pandas.DataFrame, columns: list[str]) -> str:
    """The highest rows beside the lowest, the lowest of all first."""
    scales = {name: ColourScale.of(frame[name]) for name in columns if frame[name].dtype.kind == "f"}
    half = (len(frame) + 1) // 2
    highest, lowest = frame.iloc[:half], frame.iloc[half:].iloc[::-1]
    tables = [
        f'<div style="{_SMALL};margin-top:4px">{label}</div>{frame_html(rows, scales, columns)}'
        for label, rows in (("most", highest), ("least", lowest))
        if len(rows)
    ]
    return side_by_side(*tables)


def _neighbours(component: Component, links: Links | None, n: int) -> list[str]:
    """The components most like it by what they write, beside those by what they read."""
    if not component.at_hand.has_model:
        return []  # what it writes has said that a model is missing
    return [
        side_by_side(
            _part("Neighbours by what they write", lambda: _neighbours_by(component, "write", links, n)),
            _part("Neighbours by what they read", lambda: _neighbours_by(component, "read", links, n)),
        )
    ]


def _neighbours_by(component: Component, by: str, links: Links | None, n: int) -> str:
    frame = component.neighbours(n, by)  # type: ignore[arg-type]
    title = f"Neighbours by what they {by}"
    if not len(frame):
        return section(title, f'<div style="{_SMALL}">None: it has no direction of that kind.</div>')
    scale = {"cosine": ColourScale.of(frame["cosine"])}
    return section(title, frame_html(frame, scale, ["name", "cosine"], links), "cosine")
