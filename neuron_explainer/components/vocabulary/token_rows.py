"""The n highest and the n lowest of one number for each token, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.models.model_context import ModelContext

if TYPE_CHECKING:
    import pandas


def highest_and_lowest(values: Float[Tensor, " entries"], n: int) -> list[int]:
    """The places of the n highest, then of the n lowest, in falling order; all places if there are at most 2n."""
    return _highest_and_lowest(values[None], n)[0].tolist()


def _highest_and_lowest(values: Float[Tensor, "rows entries"], n: int) -> Int[Tensor, "rows places"]:
    if values.shape[1] <= 2 * n:
        return values.argsort(descending=True, stable=True)
    lowest = values.topk(n, largest=False).indices.flip(1)
    return torch.cat([values.topk(n).indices, lowest], 1)


def token_table(
    context: ModelContext,
    values: Float[Tensor, " vocab"],
    n: int,
    others: Mapping[str, Float[Tensor, " vocab"]] | None = None,
) -> pandas.DataFrame:
    """The tokens with the highest and the lowest values: token, token_id, value, and the other numbers of each."""
    return token_tables(context, values[None], n, {name: each[None] for name, each in (others or {}).items()})[0]


def token_tables(
    context: ModelContext,
    values: Float[Tensor, "components vocab"],
    n: int,
    others: Mapping[str, Float[Tensor, "components vocab"]],
) -> list[pandas.DataFrame]:
    """The table of each component, as `token_table` gives it of one."""
    places = _highest_and_lowest(values, n)
    columns = {
        name: numbers.gather(1, places.to(numbers.device)).tolist()
        for name, numbers in {"value": values, **others}.items()
    }
    tables: list[pandas.DataFrame] = []
    for number, ids in enumerate(places.tolist()):
        own = {name: rows[number] for name, rows in columns.items()}
        tables.append(TokenTable({"token": context.decode_token_list(ids), "token_id": ids, **own}))
    return tables
