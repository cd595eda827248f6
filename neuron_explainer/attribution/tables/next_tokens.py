"""The tokens that the model may go on with, and always those that are asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.attribution.computing.readout import capped


def next_token_rows(
    logits: Float[Tensor, " vocab"], cap: float | None, n: int, asked: Mapping[int, str]
) -> list[dict[str, Any]]:
    """The n likeliest tokens and those that are asked about, likeliest first.

    Args:
        logits: the uncapped logits of one position.
        cap: the model's soft cap; None without one. Probabilities are those of the capped logits.
        n: how many.
        asked: what each token that is asked about is: "target", "distractor".
    """
    own = capped(logits, cap)
    probabilities = own.double().softmax(-1)
    best = own.topk(min(n, len(own))).indices.tolist()
    tokens = sorted({*best, *asked}, key=lambda token: (-float(own[token]), token))
    return [
        {
            "token_id": token,
            "logit": float(logits[token]),
            **({} if cap is None else {"capped_logit": float(own[token])}),
            "probability": float(probabilities[token]),
            "rank": int((own > own[token]).sum()) + 1,
            "asked": asked.get(token, ""),
        }
        for token in tokens
    ]
