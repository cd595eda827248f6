"""Effects by token: of each token's embedding, of attention from and to it, and of the MLPs at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.tables.groups import Group
from neuron_explainer.models.layers.routed import values_of
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    import pandas

COLUMNS = ("embedding", "attention_from", "attention_to", "mlp", "latents")


def token_rows(groups: Sequence[Group], effects: Effects, coefficient: float) -> list[dict[str, Any]]:
    """The total effects of one pass by token."""
    n_tokens = len(effects.prompt.token_ids)
    sums = {column: torch.zeros(n_tokens, dtype=torch.float64, device="cpu") for column in COLUMNS}
    for group in groups:
        for column, numbers in _by_token(group):
            sums[column] += numbers.double().cpu() * coefficient
    return [
        {"token": token, "position": position, **{column: float(sums[column][position]) for column in COLUMNS}}
        for position, token in enumerate(effects.prompt.token_strings)
    ]


def _by_token(group: Group) -> list[tuple[str, Tensor]]:
    """A group's total effects summed to tokens, by column."""
    total = values_of(group.total)
    if group.node_type is NodeType.TOKEN:
        return [("embedding", total.flatten())]
    if group.node_type is NodeType.ATTENTION_HEAD:
        total = total.contiguous()  # rounding depends on the order in memory, and a file has no other order
        return [("attention_from", total.sum((1, 2))), ("attention_to", total.sum((0, 2)))]
    return [("mlp" if group.node_type is NodeType.MLP_NEURON else "latents", total.flatten(1).sum(-1))]


def table_of_tokens(rows: Sequence[dict[str, Any]], has_latents: bool) -> pandas.DataFrame:
    """The rows as a DataFrame."""
    from neuron_explainer.activations.token_table import TokenTable

    columns = [column for column in COLUMNS if has_latents or column != "latents"]
    first = ["answer"] if rows and "answer" in rows[0] else []
    return TokenTable(list(rows), columns=[*first, "token", "position", *columns])
