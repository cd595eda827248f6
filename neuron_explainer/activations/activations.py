"""Neuron records, and reading and writing them."""

from neuron_explainer.activations.records import (
    ActivationRecord,
    ActivationRecordSliceParams,
    ExampleKind,
    Histogram,
    NeuronId,
    NeuronRecord,
)

__all__ = [
    "ActivationRecord",
    "ActivationRecordSliceParams",
    "ExampleKind",
    "Histogram",
    "NeuronId",
    "NeuronRecord",
]
