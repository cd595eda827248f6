from .dataset_paths import convert_dataset_path_to_short_name, resolve_neuron_dataset
from .event_loop import allow_nested_event_loops, run_coroutine
from .load_by_name import load_explanations, load_neuron
from .load_neurons import NodeIdAndDatasets, load_neuron_from_datasets
from .loaded_neurons import LoadedNeuron, LoadedNeurons
from .neuron_datasets import (
    NEURON_DATASET_METADATA_REGISTRY,
    NeuronDatasetMetadata,
    datasets,
    get_all_neuron_dataset_metadata,
    get_neuron_dataset_metadata_by_short_name_and_dst,
    register_dataset,
    register_neuron_dataset_metadata,
)

__all__ = [
    "NEURON_DATASET_METADATA_REGISTRY",
    "LoadedNeuron",
    "LoadedNeurons",
    "NeuronDatasetMetadata",
    "NodeIdAndDatasets",
    "allow_nested_event_loops",
    "convert_dataset_path_to_short_name",
    "datasets",
    "get_all_neuron_dataset_metadata",
    "get_neuron_dataset_metadata_by_short_name_and_dst",
    "load_explanations",
    "load_neuron",
    "load_neuron_from_datasets",
    "register_dataset",
    "register_neuron_dataset_metadata",
    "resolve_neuron_dataset",
    "run_coroutine",
]
