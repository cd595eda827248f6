"""The highest and lowest entries of a matrix that is made a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.models.watching import part_of_work

_MOST_ENTRIES = 2**24  # in a block: 64 MiB in float32

Pair = tuple[int, int, float]
"""A row, a column, and the entry there."""


def best_pairs(
    rows_of: Callable[[slice], Float[Tensor, "some_rows columns"]],
    n_rows: int,
    n_columns: int,
    n: int,
    progress: bool | None,
) -> list[Pair]:
    """The n highest entries, then the n lowest, in falling order; all of them if there are at most 2n.

    Args:
        rows_of: makes some rows of the matrix.
        n_rows, n_columns: its size.
        n: how many.
        progress: whether there is a bar; None: on a terminal or in a notebook, where there are many blocks.

    Raises:
        StoppedError: the work is to stop.
    """
    at_once = max(1, _MOST_ENTRIES // n_columns)
    starts = range(0, n_rows, at_once)
    are_all = n_rows * n_columns <= 2 * n
    n_each = n_rows * n_columns if are_all else n
    highest: list[Pair] = []
    lowest: list[Pair] = []
    show = progress if progress is not None or len(starts) > 16 else False
    with passes_bar(n_rows, show, "looking at pairs", "token") as advance:
        for number, start in enumerate(starts):
            with part_of_work(number, len(starts)):
                block = rows_of(slice(start, start + at_once))
            highest = _kept(highest, _best_of(block, start, n_each, largest=True), n_each, largest=True)
            lowest = _kept(lowest, _best_of(block, start, n_each, largest=False), n_each, largest=False)
            advance(len(block))
    return highest if are_all else [*highest, *reversed(lowest)]


def _kept(before: list[Pair], found: list[Pair], n: int, *, largest: bool) -> list[Pair]:
    return sorted([*before, *found], key=lambda pair: (-pair[2] if largest else pair[2], pair[0], pair[1]))[:n]


def _best_of(block: Tensor, start: int, n: int, *, largest: bool) -> list[Pair]:
    """The best entries of a block: they lie in the n rows whose best entries are best."""
    best_of_row = block.amax(1) if largest else block.amin(1)
    rows = best_of_row.topk(min(n, len(block)), largest=largest).indices
    chosen = block[rows]
    values, places = chosen.flatten().topk(min(n, chosen.numel()), largest=largest)
    width = block.shape[1]
    row_of = rows[places // width] + start
    return list(zip(row_of.tolist(), (places % width).tolist(), values.tolist(), strict=True))
