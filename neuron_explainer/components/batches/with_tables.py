"""Components whose tables are already made: those of a block of a layer, computed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.components.batches.tables import (
    block_size,
    blocks,
    neighbour_tables,
    read_tables,
    written_tables,
)
from neuron_explainer.components.component import Component
from neuron_explainer.errors import NeuronExplainerError, StoppedError

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import NeighboursBy

N_TOKENS, N_NEIGHBOURS = 8, 6
"""How many tokens and, unless another number is asked for, how many neighbours the tables of a page have."""


class TabledComponent(Component):
    """A component with the tables of its page at hand. What is asked otherwise is computed as of any component.

    Attributes:
        tables: "writes", "reads", "neighbours by write" and "neighbours by read", as far as they exist.
        n_neighbours: how many neighbours the tables have at most.
    """

    tables: dict[str, pandas.DataFrame]
    n_neighbours: int

    def writes(self, n: SupportsIndex = 10, **asked: Any) -> pandas.DataFrame:
        """As `Component.writes`."""
        made = None if asked or n != N_TOKENS else self.tables.get("writes")
        return super().writes(n, **asked) if made is None else made

    def reads(self, n: SupportsIndex = 10, **asked: Any) -> pandas.DataFrame:
        """As `Component.reads`."""
        made = None if asked or n != N_TOKENS else self.tables.get("reads")
        return super().reads(n, **asked) if made is None else made

    def neighbours(self, n: SupportsIndex = 10, by: NeighboursBy = "write", **asked: Any) -> pandas.DataFrame:
        """As `Component.neighbours`."""
        made = None if asked or n != self.n_neighbours else self.tables.get(f"neighbours by {by}")
        return super().neighbours(n, by, **asked) if made is None else made


def with_tables(first: Component, wanted: Sequence[int], n_neighbours: int = N_NEIGHBOURS) -> Iterator[TabledComponent]:
    """Components of one layer, in ascending order, each with its tables.

    Heads have none: what they write and read are pairs of tokens, of each head a matrix of its own. Nor has a
    component without a model.

    Args:
        first: one component of the layer; it says the kind, and what is at hand.
        wanted: the numbers of the components, ascending.
        n_neighbours: how many neighbours of each sort.
    """
    for run in _runs(wanted):
        if first.kind is NodeKind.HEAD or not first.at_hand.has_model:
            yield from (_component(first, index, {}, n_neighbours) for index in run)
            continue
        for block in blocks(first, run, block_size(first)):
            tables = _tables_of(first, block, n_neighbours)
            for place, index in enumerate(block):
                yield _component(first, index, {name: each[place] for name, each in tables.items()}, n_neighbours)


def _tables_of(first: Component, block: range, n_neighbours: int) -> dict[str, list[pandas.DataFrame]]:
    """The tables that the components can have. What they cannot have, each says itself when it is asked."""
    makers = {
        "writes": lambda: written_tables(first, block, N_TOKENS),
        "reads": lambda: read_tables(first, block, N_TOKENS),
        "neighbours by write": lambda: neighbour_tables(first, block, n_neighbours, "write"),
        "neighbours by read": lambda: neighbour_tables(first, block, n_neighbours, "read"),
    }
    made = {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except StoppedError:
            raise
        except NeuronExplainerError:
            continue
    return made


def _component(first: Component, index: int, tables: dict[str, pandas.DataFrame], n_neighbours: int) -> TabledComponent:
    name = NodeName(first.kind, first.layer, index, autoencoder=first.name.autoencoder)
    component = TabledComponent(name, first.dst, first.at_hand)
    component.tables, component.n_neighbours = tables, n_neighbours
    return component


def _runs(wanted: Sequence[int]) -> Iterator[range]:
    """Numbers as ranges of consecutive ones."""
    start = 0
    for place in range(1, len(wanted) + 1):
        if place == len(wanted) or wanted[place] != wanted[place - 1] + 1:
            yield range(wanted[start], wanted[place - 1] + 1)
            start = place
