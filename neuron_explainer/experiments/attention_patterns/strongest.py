"""The strongest pairs of tokens over many attention patterns, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuron_explainer.activations.token_table import TokenTable

_COLUMNS = ("name", "layer", "head", "position", "attended_position", "token", "attended_to", "weight")

Pair = tuple[float, int, int, int, int]
"""A weight, with its layer, head, token that attends, and token attended to."""


def strongest_of_layer(layer: int, weights: Tensor, n: int | None, skip_first: bool) -> list[Pair]:
    """The n pairs of a layer with the largest weights, the largest first; of equal ones, in the order of their names.

    Args:
        layer: the layer.
        weights: (attended from, attended to, heads). The first token's attention to itself is no pair, as it has no
            choice.
        n: how many; None: all.
        skip_first: without attention to the first token.
    """
    by_head = weights.float().movedim(2, 0).numpy()
    is_pair = np.tri(by_head.shape[1], dtype=bool)
    is_pair[0] = False
    if skip_first:
        is_pair[:, 0] = False
    values: NDArray[np.float32] = np.where(is_pair & ~np.isnan(by_head), by_head, -np.inf).ravel()
    n_pairs = int(np.isfinite(values).sum())
    count = n_pairs if n is None else min(n, n_pairs)
    if not count:
        return []
    # All that equal the last one taken are candidates, so that which of them are taken does not depend on chance.
    least = np.partition(values, len(values) - count)[len(values) - count]
    candidates = np.flatnonzero(values >= least)
    chosen = candidates[np.argsort(-values[candidates], kind="stable")][:count]
    places = zip(*np.unravel_index(chosen, by_head.shape), values[chosen], strict=True)
    return [(float(weight), layer, int(head), int(row), int(column)) for head, row, column, weight in places]


def strongest_table(
    by_layer: Mapping[int, Tensor], tokens: Sequence[str], n: int | None, skip_first: bool
) -> TokenTable:
    """The table of `AttentionPatterns.to_dataframe`."""
    found: list[Pair] = []
    for layer, weights in by_layer.items():
        found += strongest_of_layer(layer, weights, n, skip_first)
        found.sort(key=lambda pair: (-pair[0], *pair[1:]))
        found = found[:n]
    rows = [
        (f"L{layer}H{head}@{row}<-{column}", layer, head, row, column, tokens[row], tokens[column], weight)
        for weight, layer, head, row, column in found
    ]
    return TokenTable(rows, columns=list(_COLUMNS))
