"""Examples as DataFrames."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.attention_utils import attended_window, pairs
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.wording import without_steering


def examples_to_dataframe(
    examples: Iterable[tuple[str, int | None, int, ActivationRecord]], by_pair: bool
) -> pd.DataFrame:
    """A table with one row per token, or per token pair, of every example; `NeuronRecord.to_dataframe` has the columns.

    Control and direction characters of tokens become escapes, or they would change the table around them.

    Args:
        examples: each as (kind, bucket, number, example).
        by_pair: whether the activations are of token pairs.
    """
    parts = []
    for kind, bucket, number, example in examples:
        columns = _pair_columns(example) if by_pair else _token_columns(example)
        parts.append(pd.DataFrame({"kind": kind, "bucket": bucket, "example": number, **columns}))
    empty = ActivationRecord(tokens=[], activations=[])
    columns = {"kind": [], "bucket": [], "example": [], **(_pair_columns(empty) if by_pair else _token_columns(empty))}
    frame = TokenTable(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns))
    frame["bucket"] = frame["bucket"].astype("Int64")
    frame["example"] = frame["example"].astype("int64")
    frame["kind"] = pd.Categorical(frame["kind"], categories=["top", "random", "quantile"])
    return frame


def _token_columns(example: ActivationRecord) -> dict[str, Any]:
    return {
        "position": np.arange(len(example.tokens)),
        "token": _tokens(example),
        "activation": np.array(example.activations, dtype=np.float64),
    }


def _pair_columns(example: ActivationRecord) -> dict[str, Any]:
    n_tokens = len(example.tokens)
    attended_from, attended_to = pairs(n_tokens, attended_window(n_tokens, len(example.activations)))
    tokens = _tokens(example)
    return {
        "position": attended_from,
        "token": tokens[attended_from],
        "attended_position": attended_to,
        "attended_token": tokens[attended_to],
        "activation": np.array(example.activations, dtype=np.float64),
    }


def _tokens(example: ActivationRecord) -> NDArray[np.object_]:
    return np.array([without_steering(token) for token in example.tokens], dtype=object)
