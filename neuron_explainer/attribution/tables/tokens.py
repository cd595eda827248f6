"""Effects by token, or by layer and token: of embeddings, of attention from and to a token, and of the MLPs at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.tables.groups import Group
from neuron_explainer.models.layers.routed import values_of
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    import pandas

COLUMNS = ("embedding", "attention_from", "attention_to", "mlp", "latents")
TokenSums = dict[int | None, dict[str, Tensor]]
"""For each layer (None: the embedding) the tokens' total effects by column, on the CPU, in double precision."""


def token_sums(groups: Sequence[Group], effects: Effects, coefficient: float) -> TokenSums:
    """The total effects of one pass by layer and token."""
    sums: TokenSums = {}
    for group in groups:
        of_layer = sums.setdefault(group.layer, {})
        for column, numbers in _by_token(group):
            own = numbers.double().cpu() * coefficient
            of_layer[column] = of_layer[column] + own if column in of_layer else own
    return sums


def token_frame(sums: TokenSums, effects: Effects, by_layer: bool, has_latents: bool) -> pandas.DataFrame:
    """The total effects of one pass as a DataFrame: a row for each token, or for each layer and token."""
    from neuron_explainer.activations.token_table import TokenTable

    tokens, nothing = effects.prompt.token_strings, _zeros(effects)
    columns = [column for column in COLUMNS if has_latents or column != "latents"]
    if not by_layer:
        whole = {
            column: sum((own[column] for own in sums.values() if column in own), nothing).tolist() for column in columns
        }
        return TokenTable({"token": tokens, "position": range(len(tokens)), **whole})
    layers = [layer for layer in sums if layer is not None]
    by_column = {
        column: torch.cat([nothing[:0], *(sums[layer].get(column, nothing) for layer in layers)]).tolist()
        for column in columns
        if column != "embedding"
    }
    return TokenTable(
        {
            "layer": [layer for layer in layers for _ in tokens],
            "token": tokens * len(layers),
            "position": [*range(len(tokens))] * len(layers),
            **by_column,
        }
    )


def _zeros(effects: Effects) -> Tensor:
    return torch.zeros(len(effects.prompt.token_ids), dtype=torch.float64, device="cpu")


def _by_token(group: Group) -> list[tuple[str, Tensor]]:
    """A group's total effects summed to tokens, by column."""
    total = values_of(group.total)
    if group.node_type is NodeType.TOKEN:
        return [("embedding", total.flatten())]
    if group.node_type is NodeType.ATTENTION_HEAD:
        by_pair = total.contiguous().sum(2)  # rounding depends on the order in memory, and a file has no other order
        return [("attention_from", by_pair.sum(1)), ("attention_to", by_pair.sum(0))]
    return [("mlp" if group.node_type is NodeType.MLP_NEURON else "latents", total.flatten(1).sum(-1))]
