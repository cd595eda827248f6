"""Neuron records as DataFrames."""

from typing import Any

import numpy as np
import pandas as pd

from neuron_explainer.activations.attention_utils import attended_window, pairs
from neuron_explainer.activations.records import ActivationRecord, NeuronRecord


def record_to_dataframe(record: NeuronRecord) -> pd.DataFrame:
    """A table with one row per token of every example, or one row per token pair if the activations are of pairs.

    Columns:
        layer, neuron: the indices of the component.
        kind: "top", "random" or "quantile".
        bucket: the quantile's number, from 0; missing for other kinds.
        example: the example's number within its kind and bucket, from 0.
        position, token: the token; for a pair, the token that attends.
        attended_position, attended_token: for a pair only, the token that is attended to.
        activation: the component's activation.

    `frame.attrs` holds `source` (the file or address of the record), `layer`, `neuron` and `by_token_pair`.
    """
    by_pair = record.is_by_token_pair
    parts = []
    for kind, bucket, number, example in record.examples():
        columns = _pair_columns(example) if by_pair else _token_columns(example)
        parts.append(pd.DataFrame({"kind": kind, "bucket": bucket, "example": number, **columns}))
    empty = ActivationRecord(tokens=[], activations=[])
    columns = {"kind": [], "bucket": [], "example": [], **(_pair_columns(empty) if by_pair else _token_columns(empty))}
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns)
    frame["bucket"] = frame["bucket"].astype("Int64")
    frame["example"] = frame["example"].astype("int64")
    frame["kind"] = pd.Categorical(frame["kind"], categories=["top", "random", "quantile"])
    frame.insert(0, "layer", record.neuron_id.layer_index)
    frame.insert(1, "neuron", record.neuron_id.neuron_index)
    frame.attrs = {
        "source": record.source,
        "layer": record.neuron_id.layer_index,
        "neuron": record.neuron_id.neuron_index,
        "by_token_pair": by_pair,
    }
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
