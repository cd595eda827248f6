"""The nodes that matter, as tables: those with the largest effects, and the largest heads, neurons and latents."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, SupportsIndex

from neuron_explainer.errors import MisconfiguredError
from neuron_explainer.views.attribution.cells import (
    frame_html,
    kind_of_column,
    section,
    shown_columns,
    side_by_side,
)
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.token_text import escaped
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.attribution.attribution import Attribution

EFFECTS = ("direct_effect", "total_effect")
_N_NODES = 10
_N_COMPONENTS = 8


def node_section(why: Attribution) -> str:
    """The nodes with the largest direct and those with the largest total effect, in one table."""
    try:
        frame = nodes_that_matter(why)
    except MisconfiguredError as error:  # an answer that was read from a file, without its model
        return section("Nodes", f'<div style="color:{MUTED}">{escaped(str(error))}</div>')
    note = f"the {_N_NODES} largest by direct and by total effect; ablate and trace take their names"
    return section("Nodes", frame_html(frame, effect_scales(frame)), note)


def nodes_that_matter(why: Attribution) -> pandas.DataFrame:
    """The union of both rankings, largest total effect first."""
    import pandas

    both = pandas.concat([why.nodes(_N_NODES), why.nodes(_N_NODES, "direct_effect")])
    keys = [name for name in ("answer", "name") if name in both.columns]
    union = both[~both.duplicated(keys)]
    return union.iloc[union["total_effect"].abs().argsort(kind="stable")[::-1]]


def component_section(why: Attribution) -> str:
    """The heads, neurons and latents with the largest direct effects, side by side."""
    tables = [component_table_html("Heads", why.heads(_N_COMPONENTS))]
    tables.append(component_table_html("Neurons", why.neurons(_N_COMPONENTS)))
    with suppress(MisconfiguredError):  # the question was asked without autoencoders
        tables.append(component_table_html("Latents", why.latents(_N_COMPONENTS)))
    return side_by_side(*tables)


def component_table_html(title: str, frame: pandas.DataFrame) -> str:
    """The first rows of a table of whole components, under a heading."""
    shown = frame.head(_N_COMPONENTS).drop(columns=["layer", "component"])
    return section(title, frame_html(shown, effect_scales(shown)), "by direct effect, summed over tokens")


def node_rows_html(frame: pandas.DataFrame, first: SupportsIndex = 0, n: SupportsIndex = 50) -> str:
    """Some rows of a table of nodes as static HTML, with the columns and colours of the whole table.

    Args:
        frame: a table of nodes, as an answer, a comparison or `verify` gives it.
        first: the number of the first row, from 0. Of one behind the end, the last n rows are shown.
        n: how many rows.

    Raises:
        InvalidRequestError: `first` is not a whole number from 0 on, or `n` is not one above 0.
    """
    size = checked_number("n", n)
    start = checked_number("first", first, 0)
    start = start if start < len(frame) else max(0, len(frame) - size)
    if not len(frame):
        return card(f'<div style="color:{MUTED}">no nodes</div>', "ne-node-rows")
    stop = min(start + size, len(frame))
    columns = shown_columns(frame)
    scales = effect_scales(frame, [name for name in columns if kind_of_column(name) == "effect"])
    count = f'<div style="color:{MUTED};font-size:12px">rows {start + 1:,} to {stop:,} of {len(frame):,}</div>'
    return card(frame_html(frame.iloc[start:stop], scales, columns) + count, "ne-node-rows")


def effect_scales(frame: pandas.DataFrame, columns: Iterable[str] = EFFECTS) -> dict[str, ColourScale]:
    """One colour scale for all effects of a table."""
    present = [name for name in columns if name in frame.columns]
    scale = ColourScale.of(number for name in present for number in frame[name])
    return dict.fromkeys(present, scale)
