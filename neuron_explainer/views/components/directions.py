"""What a component writes beside what it reads; its neighbours: as sections of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.components.component import Component, NeighboursBy
from neuron_explainer.views.attribution.cells import Links, frame_html, section, side_by_side
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.parts import SMALL, part
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    import pandas

N_TOKENS, N_NEIGHBOURS = 8, 6
"""How many tokens at each end, and how many neighbours, a page shows by default."""

_WRITES = "logits per unit of activation, minus their mean; scales of norms left at 1"
_READS = "pre-activation where a token's embedding alone is the residual stream"
_WRITTEN_PAIRS = "attended-to token and output token: logits per unit of attention, minus their mean"
_READ_PAIRS = "attending and attended-to token{}: attention logits"
_BY = {"write": "what they write", "read": "what they read", "activation": "activation on the same texts"}


def directions_section(component: Component, n: int = N_TOKENS) -> str:
    """What a component writes beside what it reads, or why that is missing; of a head, pairs of tokens.

    Args:
        component: the component.
        n: how many of the highest, and of the lowest.
    """
    if component.kind is NodeKind.HEAD:
        written = part("What it writes", lambda: _pairs(component, "writes", _WRITTEN_PAIRS, n))
        read = part("What it attends to", lambda: _pairs(component, "reads", _READ_PAIRS, n), is_quiet=True)
    else:
        written = part("What it writes", lambda: _tokens(component, "writes", _WRITES, n))
        read = part("What it reads", lambda: _tokens(component, "reads", _READS, n), is_quiet=True)
    return side_by_side(written, read)


def _tokens(component: Component, what: str, note: str, n: int) -> str:
    frame: pandas.DataFrame = getattr(component, what)(n)
    columns = [name for name in frame.columns if name != "token_id"]
    title = "What it writes" if what == "writes" else "What it reads"
    return section(title, f'<div style="{SMALL}">{escaped(note)}</div>{_highest_and_lowest(frame, columns)}')


def _pairs(component: Component, what: str, note: str, n: int) -> str:
    frame: pandas.DataFrame = getattr(component, what)(n)
    columns = [name for name in frame.columns if not name.endswith("_id")]
    title = "What it writes" if what == "writes" else "What it attends to"
    if what == "reads":
        note = note.format("" if frame.attrs["distance"] is None else ", one apart")
    about = f"{note}; among {frame.attrs['tokens']}"
    if what == "writes":
        about += f". Copying score {format_value(component.copying_score)}"
    return section(title, f'<div style="{SMALL}">{escaped(about)}</div>{_highest_and_lowest(frame, columns)}')


def _highest_and_lowest(frame: pandas.DataFrame, columns: list[str]) -> str:
    """The highest rows beside the lowest, the lowest of all first."""
    scales = {name: ColourScale.of(frame[name]) for name in columns if frame[name].dtype.kind == "f"}
    half = (len(frame) + 1) // 2
    highest, lowest = frame.iloc[:half], frame.iloc[half:].iloc[::-1]
    tables = [
        f'<div style="{SMALL};margin-top:4px">{label}</div>{frame_html(rows, scales, columns)}'
        for label, rows in (("most", highest), ("least", lowest))
        if len(rows)
    ]
    return side_by_side(*tables)


def neighbours_beside(component: Component, n: int = N_NEIGHBOURS, links: Links | None = None) -> str:
    """The components most like it by what they write, beside those by what they read; empty without a model.

    Args:
        component: the component.
        n: how many of each.
        links: the addresses of their pages; None: without links.
    """
    if not component.at_hand.has_model:
        return ""  # what it writes has said that a model is missing
    return side_by_side(
        part(
            f"Neighbours by {_BY['write']}",
            lambda: neighbours_section(component.neighbours(n, "write"), "write", links),
        ),
        part(
            f"Neighbours by {_BY['read']}", lambda: neighbours_section(component.neighbours(n, "read"), "read", links)
        ),
    )


def neighbours_section(neighbours: pandas.DataFrame, by: NeighboursBy, links: Links | None = None) -> str:
    """A table of neighbours.

    Args:
        neighbours: what `Component.neighbours` gives.
        by: by what they are alike.
        links: the addresses of their pages; None: without links.
    """
    title = f"Neighbours by {_BY[by]}"
    if not len(neighbours):
        return section(title, f'<div style="{SMALL}">None: nothing here has a direction of that kind.</div>')
    measure = "correlation" if by == "activation" else "cosine"
    columns = [name for name in neighbours.columns if name not in ("layer", "component")]
    return section(
        title, frame_html(neighbours, {measure: ColourScale.of(neighbours[measure])}, columns, links), measure
    )
