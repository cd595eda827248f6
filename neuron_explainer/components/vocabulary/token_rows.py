"""The n highest and the n lowest of one number for each token, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.models.model_context import ModelContext

if TYPE_CHECKING:
    import pandas


def highest_and_lowest(values: Float[Tensor, " entries"], n: int) -> list[int]:
    """The places of the n highest, then of the n lowest, in falling order; all places if there are at most 2n."""
    if len(values) <= 2 * n:
        return values.argsort(descending=True, stable=True).tolist()
    lowest = (-values).topk(n).indices.flip(0)
    return [*values.topk(n).indices.tolist(), *lowest.tolist()]


def token_table(
    context: ModelContext,
    values: Float[Tensor, " vocab"],
    n: int,
    others: Mapping[str, Float[Tensor, " vocab"]] | None = None,
) -> pandas.DataFrame:
    """The tokens with the highest and the lowest values: token, token_id, value, and the other numbers of each."""
    ids = highest_and_lowest(values, n)
    columns = {"value": values, **(others or {})}
    chosen = {
        name: numbers[torch.tensor(ids, dtype=torch.int64, device=numbers.device)].tolist()
        for name, numbers in columns.items()
    }
    return TokenTable({"token": context.decode_token_list(ids), "token_id": ids, **chosen})
