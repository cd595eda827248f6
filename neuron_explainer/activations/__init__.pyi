from .activations import (
    ActivationRecord,
    ActivationRecordSliceParams,
    Histogram,
    NeuronId,
    NeuronRecord,
    load_neuron,
    load_neuron_async,
    neuron_exists,
    save_neuron,
)
from .packed.dataset import PackedDataset

__all__ = [
    "ActivationRecord",
    "ActivationRecordSliceParams",
    "Histogram",
    "NeuronId",
    "NeuronRecord",
    "PackedDataset",
    "load_neuron",
    "load_neuron_async",
    "neuron_exists",
    "save_neuron",
]
