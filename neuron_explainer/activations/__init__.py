"""Neuron records, and scalars derived from a model's activations."""

from neuron_explainer._lazy import lazy_exports

_RECORDS = "neuron_explainer.activations.activations"

_MODULE_BY_NAME = {
    "ActivationRecord": _RECORDS,
    "ActivationRecordSliceParams": _RECORDS,
    "Histogram": _RECORDS,
    "NeuronId": _RECORDS,
    "NeuronRecord": _RECORDS,
    "PackedDataset": "neuron_explainer.activations.packed",
    "load_neuron": _RECORDS,
    "load_neuron_async": _RECORDS,
    "neuron_exists": _RECORDS,
    "save_neuron": _RECORDS,
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
