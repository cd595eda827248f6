"""The embedding's rows as residual streams of one token each, and what layers' norms make of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.components.held import held
from neuron_explainer.models.layers.embedding_scale import scaled_embedding
from neuron_explainer.models.layers.norms import Norm, at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import stop_if_asked

ROWS_AT_ONCE = 8192


def embedding_blocks(model: Transformer) -> Iterator[Float[Tensor, "some_vocab d_model"]]:
    """The rows that enter the residual stream, without a position embedding, in blocks of float32 or wider.

    Raises:
        StoppedError: the work is to stop.
    """
    embedding = model.embedding  # of a model on disk, each look reads it
    for rows in embedding.split(ROWS_AT_ONCE):
        stop_if_asked()
        yield at_least_float32(scaled_embedding(rows, model.config))


def tokens_embedded(model: Transformer, token_ids: Tensor) -> Float[Tensor, "some_vocab d_model"]:
    """The rows of some tokens."""
    return at_least_float32(scaled_embedding(model.embedding[token_ids.to(model.device)], model.config))


def scales_of_rows(model: Transformer, norm: Norm) -> Float[Tensor, "vocab 1"]:
    """A norm's scale for each row; norms of one kind and epsilon have the same, so they are kept."""
    key = ("scales", type(norm).__name__, norm.epsilon)
    return held(model, key, lambda: torch.cat([norm.scale(rows) for rows in embedding_blocks(model)]))


def along_rows(
    model: Transformer, norm: Norm, weights: Float[Tensor, "d_model outputs"]
) -> Float[Tensor, "vocab outputs"]:
    """The normed rows times a matrix whose gain is folded in; without the norm's bias.

    A few columns are folded into the matrix, rather than the norm into the rows, because there are many rows.

    Args:
        model: the model.
        norm: the norm.
        weights: directions among the norm's inputs, as `back_through_norm` gives them.
    """
    products = torch.cat([rows @ weights.to(rows.dtype) for rows in embedding_blocks(model)])
    return products / scales_of_rows(model, norm)
