"""Where everything is on the page of attention patterns: small ones in rows, and beside them one large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_CELLS = 64
"""The most rows and columns of a large pattern; of a longer prompt each is a block of tokens."""

ZOOMED_TO, GAP = 24, 2
"""The fewest pixels of a pattern's side in its file, and how many are between two patterns."""

HEADER, NUMBERS, BETWEEN = 16, 30, 4
"""The height of the row of head numbers, the width of the column of layer numbers, the space between rows."""

TITLE, ABOVE, BESIDE = 22, 62, 68
"""The height of the large pattern's title and of its column labels, and the width of its row labels."""

_WIDTH_OF_SMALL, _WIDTH_OF_LARGE = 225, 380
_SMALLEST, _LARGEST = 18, 40
_LEAST_CELL, _MOST_CELL, _LABEL_HEIGHT = 7, 20, 10


@dataclass(frozen=True)
class Layout:
    """Sizes in pixels, and positions of rows and heads.

    Attributes:
        layers: the layers that are shown, ascending.
        n_heads: how many heads each has.
        n_tokens: how many tokens are shown.
    """

    layers: Sequence[int]
    n_heads: int
    n_tokens: int

    @property
    def block(self) -> int:
        """How many tokens a row or column of a pattern stands for."""
        return -(-self.n_tokens // MOST_CELLS)

    @property
    def n_cells(self) -> int:
        """How many rows and columns a pattern has."""
        return -(-self.n_tokens // self.block)

    @property
    def zoom(self) -> int:
        """How many pixels of a picture's file a cell is wide and high."""
        return -(-ZOOMED_TO // self.n_cells)

    @property
    def tile(self) -> int:
        """The side of a small pattern."""
        return max(_SMALLEST, min(_LARGEST, _WIDTH_OF_SMALL // self.n_heads))

    @property
    def cell(self) -> int:
        """The side of a cell of the large pattern."""
        return max(_LEAST_CELL, min(_MOST_CELL, _WIDTH_OF_LARGE // self.n_cells))

    @property
    def label_step(self) -> int:
        """Of how many rows or columns one has a label, so that labels do not overlap."""
        return -(-_LABEL_HEIGHT // self.cell)

    @property
    def side(self) -> int:
        """The side of the large pattern."""
        return self.cell * self.n_cells

    @property
    def tile_pitch(self) -> float:
        """From one small pattern of a row to the next."""
        return self.tile * (1 + GAP / (self.n_cells * self.zoom))

    @property
    def side_pitch(self) -> float:
        """The same in the large picture of a layer."""
        return self.side * (1 + GAP / (self.n_cells * self.zoom))

    @property
    def grid_size(self) -> tuple[float, float]:
        """The width and height of all small patterns with their numbers."""
        return NUMBERS + self.tile_pitch * self.n_heads, HEADER + len(self.layers) * (self.tile + BETWEEN)

    @property
    def large_size(self) -> tuple[int, int]:
        """The width and height of the large pattern with its labels."""
        return BESIDE + self.side, TITLE + ABOVE + self.side

    def top(self, layer: int) -> int:
        """Where a layer's row of small patterns begins."""
        return HEADER + self.layers.index(layer) * (self.tile + BETWEEN)

    def left(self, head: int) -> float:
        """Where a head's small pattern begins."""
        return NUMBERS + head * self.tile_pitch

    def top_of_large(self, layer: int) -> int:
        """Where the large pattern begins: beside the small one, as far as the rows reach."""
        height = self.large_size[1]
        return max(0, min(self.top(layer) + self.tile // 2 - height // 2, round(self.grid_size[1]) - height))
