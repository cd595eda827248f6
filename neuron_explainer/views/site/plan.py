"""What a site consists of: its components, in chunks, and the path of every file."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind

INDEX, SCRIPT, SEARCH_INDEX = "index.html", "site.js", "search/layers.js"
OF_LIST, OF_CHUNK = 100, 400
"""How many components a list page has, and how many are done before their rows are written."""

OF_FOLDER = 10_000
"""How many pages a folder has at most; more are slow to list."""

_NAME = re.compile(r"L(\d{1,6})([A-Z])(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Chunk:
    """Some components of a layer, which are done together.

    Attributes:
        layer: the layer.
        number: which of the layer's chunks it is, from 0.
        indices: the components.
    """

    layer: int
    number: int
    indices: Sequence[int]


@dataclass(frozen=True)
class SitePlan:
    """The components of a site.

    Attributes:
        kind: their kind.
        layers: the numbers of each layer's components, ascending.
    """

    kind: NodeKind
    layers: Mapping[int, Sequence[int]]

    @property
    def n_pages(self) -> int:
        """How many components have a page."""
        return sum(map(len, self.layers.values()))

    def name(self, layer: int, index: int) -> str:
        """A component's name."""
        return f"L{layer}{self.kind.symbol}{index}"

    def page_of(self, layer: int, index: int) -> str:
        """The path of a component's page. Those from the 10,000th on are in folders of their own."""
        group = index // OF_FOLDER * OF_FOLDER
        return f"L{layer}/{f'{group}/' if group else ''}{self.name(layer, index)}.html"

    def page_of_name(self, name: str) -> str | None:
        """The path of the page of a component with this name; None if it has none."""
        found = _NAME.fullmatch(name)
        if found is None or found[2] != self.kind.symbol:
            return None
        layer, index = int(found[1]), int(found[3])
        return self.page_of(layer, index) if self._has(layer, index) else None

    def _has(self, layer: int, index: int) -> bool:
        several = self.layers.get(layer, ())
        place = bisect_left(several, index)
        return place < len(several) and several[place] == index

    @cached_property
    def n_lists(self) -> dict[int, int]:
        """How many list pages each layer has."""
        return {layer: -(-len(several) // OF_LIST) for layer, several in self.layers.items()}

    def list_of(self, layer: int, number: int) -> str:
        """The path of one of a layer's list pages, from 0."""
        return f"L{layer}/list-{number}.html"

    def chunks(self) -> Iterator[Chunk]:
        """The components, in the order in which they are done."""
        for layer, several in self.layers.items():
            for number, start in enumerate(range(0, len(several), OF_CHUNK)):
                yield Chunk(layer, number, several[start : start + OF_CHUNK])

    def rows_of(self, chunk: Chunk) -> str:
        """The path of the rows of a chunk's components, which is written when all its pages are."""
        return f"search/L{chunk.layer}-{chunk.number}.js"

    def paths_of(self, chunk: Chunk) -> Iterator[str]:
        """The paths of a chunk's pages, lists and rows."""
        for index in chunk.indices:
            yield self.page_of(chunk.layer, index)
        first = chunk.number * OF_CHUNK // OF_LIST
        for number in range(first, first + -(-len(chunk.indices) // OF_LIST)):
            yield self.list_of(chunk.layer, number)
        yield self.rows_of(chunk)

    def paths(self) -> set[str]:
        """The paths of all files."""
        own = {path for chunk in self.chunks() for path in self.paths_of(chunk)}
        return {INDEX, SCRIPT, SEARCH_INDEX, *own}

    def around(self, layer: int, index: int) -> tuple[int | None, int | None]:
        """The components of the layer before and after one; None at the ends."""
        several = self.layers[layer]
        place = bisect_left(several, index)
        before = several[place - 1] if place else None
        return before, several[place + 1] if place + 1 < len(several) else None

    def place(self, layer: int, index: int) -> int:
        """Which of the layer's components one is, from 0."""
        return bisect_left(self.layers[layer], index)

    def to_json(self) -> dict[str, Any]:
        """The plan as what JSON can hold: the first and last number of each run."""
        return {
            "kind": self.kind.value,
            "layers": {str(layer): _runs(several) for layer, several in self.layers.items()},
        }

    @classmethod
    def from_json(cls, found: Any) -> SitePlan:
        """The plan that `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        layers = {}
        for layer, runs in found["layers"].items():
            several = [number for first, last in runs for number in range(first, min(last, first + 2**22) + 1)]
            if any(later <= earlier for earlier, later in pairwise(several)):
                raise ValueError("its components are not in order")
            layers[int(layer)] = several
        return cls(NodeKind(found["kind"]), layers)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs
