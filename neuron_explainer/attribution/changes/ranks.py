"""Estimates beside what was measured: both as ranks, and how well the two orders agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from neuron_explainer.activations.token_table import TokenTable


def beside_measured(
    columns: Mapping[str, Sequence[Any]],
    estimate: Sequence[float],
    measured: Sequence[float],
    index: "pandas.Index[Any] | None" = None,
) -> TokenTable:
    """A table of estimates and of what was measured, with the ranks of both; `attrs["spearman"]` is their correlation.

    Args:
        columns: what names each row.
        estimate, measured: one number for each row.
        index: the labels of the rows; None: 0, 1, ….
    """
    table = TokenTable({**columns, "estimate": list(estimate), "measured": list(measured)}, index=index)
    ranks = table[["estimate", "measured"]].rank(ascending=False).rename(columns=lambda name: f"{name}_rank")
    table = TokenTable(table.join(ranks) if table.index.is_unique else pandas.concat([table, ranks], axis=1))
    table.attrs["spearman"] = spearman(estimate, measured)
    return table


def spearman(estimate: Sequence[float], measured: Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, those of equal numbers averaged. NaN of fewer than two.

    >>> spearman([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
    0.5
    """
    if len(estimate) < 2:
        return float("nan")
    ranks = pandas.DataFrame({"estimate": list(estimate), "measured": list(measured)}).rank()
    return float(ranks["estimate"].corr(ranks["measured"]))
