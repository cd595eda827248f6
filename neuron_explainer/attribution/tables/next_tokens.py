"""The tokens that the model may go on with, and always those that are asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.readout import capped
from neuron_explainer.attribution.inquiry import Inquiry
from neuron_explainer.errors import InvalidRequestError

if TYPE_CHECKING:
    import pandas


def next_token_table(
    effects: Effects, inquiry: Inquiry, texts_of: Callable[[Sequence[int]], list[str]], n: int
) -> pandas.DataFrame:
    """The table of an answer, from its first pass. `texts_of` gives the texts of tokens.

    Raises:
        InvalidRequestError: the answer is not about logits.
    """
    from neuron_explainer.activations.token_table import TokenTable

    cap = effects.logits_softcap
    rows = next_token_rows(row_of_next_tokens(effects, inquiry), cap, n, inquiry.asked_tokens)
    texts = texts_of([each["token_id"] for each in rows])
    table = [{"token": text, **each} for text, each in zip(texts, rows, strict=True)]
    return TokenTable(table, columns=list(table[0]))


def row_of_next_tokens(effects: Effects, inquiry: Inquiry) -> Float[Tensor, " vocab"]:
    """The uncapped logits of the position that the question is about; of several, the last one.

    Raises:
        InvalidRequestError: the answer is not about logits.
    """
    logits = effects.logits
    if logits is not None and not len(logits):
        raise InvalidRequestError("The metric does not depend on the logits, so there is no position to show.")
    if logits is None:
        raise InvalidRequestError("A trace is about an activation, so it has no next tokens. Ask the answer before it.")
    return logits[0 if inquiry.is_by_answer else -1]  # an answer's own tokens come after the first row


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
