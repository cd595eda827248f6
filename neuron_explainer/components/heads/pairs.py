"""What a head writes and attends to, as pairs of tokens: its OV and QK circuits over the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.finite_weights import check_finite_result
from neuron_explainer.components.heads.best_pairs import Pair, best_pairs
from neuron_explainer.components.heads.tokens_given import TokensOfPairs, tokens_of_pairs
from neuron_explainer.components.heads.weights import written_rows
from neuron_explainer.components.vocabulary.embedding_rows import ROWS_AT_ONCE, tokens_embedded
from neuron_explainer.components.vocabulary.written import centred_logits
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.attention import Attention
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.vocabulary.checks import checked_number
from neuron_explainer.vocabulary.nodes import AttnSubNode

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import Component, VocabularyGiven
    from neuron_explainer.models.model_context import ModelContext


@torch.no_grad()
def pairs_written(
    component: Component, n: SupportsIndex, tokens: VocabularyGiven, progress: bool | None
) -> pandas.DataFrame:
    """See `Component.writes`."""
    count, context = checked_number("n", n), component.model("writes()")
    model, block = component.transformer("writes()"), component.block("writes()")
    given = tokens_of_pairs(context, tokens)
    logits = centred_logits(model, written_rows(block)[component.index])  # of each channel
    values = _values(model, block, component.index, given).to(logits.dtype)
    check_finite_result(values, f"The value of {component.name} of the tokens attended to")
    check_finite_result(logits, f"What {component.name} writes to the output tokens")
    found = best_pairs(lambda rows: values[rows] @ logits, len(values), logits.shape[1], count, progress)
    outputs = TokensOfPairs(torch.arange(logits.shape[1], dtype=torch.int64, device="cpu"), "")
    return _table(context, found, ("source", given), ("token", outputs), given.words)


@torch.no_grad()
def pairs_read(
    component: Component,
    n: SupportsIndex,
    tokens: VocabularyGiven,
    distance: SupportsIndex,
    progress: bool | None,
) -> pandas.DataFrame:
    """See `Component.reads`."""
    count, context = checked_number("n", n), component.model("reads()")
    model, block = component.transformer("reads()"), component.block("reads()")
    apart = checked_number("distance", distance, 0)
    matters = distance_matters(block.attention)
    if not matters and apart != 1:
        raise InvalidRequestError(
            f"distance is {apart}, but the queries and keys of layer {component.layer} do not depend on it: positions "
            f"of {context.model_name} are not rotary there. Leave distance out."
        )
    apart = apart if matters else 0  # any will do
    _check_distance(block.attention, apart, context.max_context_length)
    given = tokens_of_pairs(context, tokens)
    queries, keys = _queries_and_keys(model, block, component.index, given, apart)
    check_finite_result(queries, f"The query of {component.name}")
    check_finite_result(keys, f"The key of {component.name}")
    cap = block.attention.softcap

    def rows_of(rows: slice) -> Tensor:
        logits = queries[rows] @ keys.T
        return logits if cap is None else (logits / cap).tanh() * cap

    found = best_pairs(rows_of, len(queries), len(keys), count, progress)
    table = _table(context, found, ("query", given), ("key", given), given.words)
    table.attrs["distance"] = apart if matters else None
    return table


def distance_matters(attention: Attention) -> bool:
    """Whether how far apart two tokens are changes what a query and a key give: not so with learned positions."""
    return attention.rotary is not None or bool(attention.query_growth)


def _check_distance(attention: Attention, distance: int, context_length: int) -> None:
    most = min(context_length, attention.window or context_length)
    if distance >= most:
        raise InvalidRequestError(
            f"distance is {distance}, but layer {attention.layer} attends to at most {most - 1} tokens back."
        )


def _values(model: Transformer, block: Block, head: int, given: TokensOfPairs) -> Float[Tensor, "tokens d_head"]:
    """The head's value of each token, if its embedding alone were the residual stream."""
    weight, bias = block.attention.part(AttnSubNode.V)
    d_head, shared_by = block.attention.d_head, block.attention.n_heads // block.attention.n_heads_by_part[2]
    own = slice(head // shared_by * d_head, (head // shared_by + 1) * d_head)
    weight = at_least_float32(weight[own])
    parts = []
    for ids in given.ids.split(ROWS_AT_ONCE):
        stop_if_asked()
        rows, norm = tokens_embedded(model, ids), block.attention_norm
        normed = norm.apply_scale(rows, norm.scale(rows))  # in float32, also where the gain is of half precision
        parts.append(normed.to(weight.dtype) @ weight.T)
    values = torch.cat(parts)
    return values if bias is None else values + bias[own]


def _queries_and_keys(
    model: Transformer, block: Block, head: int, given: TokensOfPairs, distance: int
) -> tuple[Float[Tensor, "tokens d_head"], Float[Tensor, "tokens d_head"]]:
    """The head's query of each token at position `distance`, and its key of each at position 0, as recorded."""
    queries, keys = [], []
    for ids in given.ids.split(ROWS_AT_ONCE):
        stop_if_asked()
        normed = block.attention_input(tokens_embedded(model, ids).to(model.dtype)[:, None])
        queries.append(at_least_float32(block.queries(normed, distance, distance + 1)[:, 0, head]))
        keys.append(at_least_float32(block.keys(normed, 0, distance + 1)[:, 0, head]))
    return torch.cat(queries), torch.cat(keys)


def _table(
    context: ModelContext,
    found: list[Pair],
    rows: tuple[str, TokensOfPairs],
    columns: tuple[str, TokensOfPairs],
    words: str,
) -> pandas.DataFrame:
    """The pairs as a table: two tokens with their ids, and the value."""
    made: dict[str, list[object]] = {}
    for places, (name, tokens) in (([pair[0] for pair in found], rows), ([pair[1] for pair in found], columns)):
        ids = tokens.ids[torch.tensor(places, dtype=torch.int64, device="cpu")].tolist()
        made[name] = list(context.decode_token_list(ids))
        made[f"{name}_id"] = list(ids)
    table = TokenTable({**made, "value": [pair[2] for pair in found]})
    table.attrs["tokens"] = words
    return table
