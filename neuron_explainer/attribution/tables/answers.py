"""How probable the model finds each answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.readout import capped
from neuron_explainer.attribution.inquiry import Inquiry
from neuron_explainer.attribution.tables.next_tokens import row_of_next_tokens

if TYPE_CHECKING:
    import pandas

_COLUMNS = ["answer", "asked", "n_tokens", "probability", "log_probability"]


def answer_table(effects: Sequence[Effects], inquiry: Inquiry) -> pandas.DataFrame:
    """One row for each target and distractor.

    Raises:
        InvalidRequestError: the answer is not about logits.
    """
    import pandas

    first = capped(row_of_next_tokens(effects[0], inquiry), effects[0].logits_softcap).double().log_softmax(-1)
    rows: list[dict[str, Any]] = []
    for number, answer in enumerate(inquiry.answers):
        if answer.is_one_token:
            log_probability = float(first[answer.token_ids[0]])
        else:
            log_probability = _of_several(effects[number], answer.token_ids)
        rows.append(
            {
                "answer": answer.text,
                "asked": answer.asked,
                "n_tokens": len(answer.token_ids),
                "probability": math.exp(log_probability),
                "log_probability": log_probability,
            }
        )
    return pandas.DataFrame(rows, columns=_COLUMNS)


def _of_several(effects: Effects, token_ids: tuple[int, ...]) -> float:
    """The log-probability of an answer of several tokens, in its own pass."""
    if effects.logits is None:
        raise RuntimeError("a pass of an answer has logits")
    by_row = capped(effects.logits, effects.logits_softcap).double().log_softmax(-1)
    tokens = torch.tensor(token_ids, dtype=torch.int64, device=by_row.device)
    return float(by_row.gather(-1, tokens[:, None]).sum())
