"""Examples as DataFrames."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.attention_utils import attended_window, pairs


def examples_to_dataframe(
    examples: Iterable[tuple[str, int | None, int, ActivationRecord]], by_pair: bool
) -> pd.DataFrame:
    """A table with one row per token, or per token pair, of every example; `NeuronRecord.to_dataframe` has the columns.

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
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns)
    frame["bucket"] = frame["bucket"].astype("Int64")
    frame["example"] = frame["example"].astype("int64")
    frame["kind"] = pd.Categorical(frame["kind"], categories=["top", "random", "quantile"])
    return frame


def _token_columns(example: ActivationRecord) -> dict[str, Any]:
    return {
        "position": np.arange(len(example.tokens)),
        "token": np.array(example.tokens, dtype=object),
        "activation": np.array(example.activations, dtype=np.float64),
    }


def _pair_columns(example: ActivationRecord) -> dict[str, Any]:
    n_tokens = len(example.tokens)
    attended_from, attended_to = pairs(n_tokens, attended_window(n_tokens, len(example.activations)))
    tokens = np.array(example.tokens, dtype=object)
    return {
        "position": attended_from,
        "token": tokens[attended_from],
        "attended_position": attended_to,
        "attended_token": tokens[attended_to],
        "activation": np.array(example.activations, dtype=np.float64),
    }
