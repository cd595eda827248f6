"""What is timed beside a plain forward pass: recording, gradients, and the node table's derived scalars."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

import neuron_explainer as ne
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.transformer import Transformer

P = ne.ActivationLocationType
D = ne.DerivedScalarType

EVERYTHING = [place for place in P if not place.is_online_autoencoder_place]
ONE_PLACE = [P.MLP_POST_ACT]
NODE_TABLE = [
    D.RESID_POST_EMBEDDING_NORM,
    D.TOKEN_ATTRIBUTION,
    D.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
    D.ALWAYS_ONE,
    D.MLP_WRITE_NORM,
    D.MLP_ACT_TIMES_GRAD,
    D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    D.MLP_POST_ACT,
    D.UNFLATTENED_ATTN_WRITE_NORM,
    D.UNFLATTENED_ATTN_ACT_TIMES_GRAD,
    D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
    D.ATTN_QK_PROBS,
    D.LOGITS,
]
"""The 13 types of the table of all nodes: neurons, heads by pair, embeddings, logits."""
NODE_TABLE_LOSS = ne.LossFnConfig(ne.LossFnName.LOGIT_DIFF, [10], [20])


def loss_of(logits: torch.Tensor) -> torch.Tensor:
    """A logit difference at the last token of the first prompt."""
    return logits[0, -1, 10] - logits[0, -1, 20]


def recorded(model: Transformer, tokens: torch.Tensor, places: Iterable[P]) -> Recording:
    """A forward pass, recorded at some places of all layers."""
    with model.record(places) as recording:
        model(tokens)
    return recording


def with_gradients(model: Transformer, tokens: torch.Tensor) -> Recording:
    """A forward and a backward pass, recorded everywhere."""
    with model.record(EVERYTHING, gradients=True) as recording:
        logits = model(tokens)
        assert logits is not None
        recording.backward(loss_of(logits))
    return recording


def our_passes(model: Transformer, tokens: torch.Tensor) -> dict[str, Callable[[], object]]:
    """A plain forward pass of ours and those that record, by name."""
    return {
        "plain": lambda: model(tokens),
        "one place": lambda: recorded(model, tokens, ONE_PLACE),
        "everything": lambda: recorded(model, tokens, EVERYTHING),
        "gradients": lambda: with_gradients(model, tokens),
    }


def their_pass(model: Any, tokens: torch.Tensor) -> Callable[[], object]:
    """A plain forward pass of a model of `transformers`."""

    def run() -> object:
        with torch.no_grad():
            return model(tokens, use_cache=False).logits

    return run
