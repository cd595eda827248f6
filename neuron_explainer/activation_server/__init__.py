"""Where neuron records come from: the registry of datasets, and loading from them."""

from neuron_explainer._lazy import lazy_exports

_REGISTRY = "neuron_explainer.activation_server.neuron_datasets"
_LOAD_NEURONS = "neuron_explainer.activation_server.load_neurons"
_LOADING = "neuron_explainer.activation_server.loading"
_EVENT_LOOP = "neuron_explainer.activation_server.event_loop"

_MODULE_BY_NAME = {
    "NEURON_DATASET_METADATA_REGISTRY": _REGISTRY,
    "NeuronDatasetMetadata": _REGISTRY,
    "datasets": _REGISTRY,
    "get_all_neuron_dataset_metadata": _REGISTRY,
    "get_neuron_dataset_metadata_by_short_name_and_dst": _REGISTRY,
    "register_dataset": _REGISTRY,
    "register_neuron_dataset_metadata": _REGISTRY,
    "NodeIdAndDatasets": _LOAD_NEURONS,
    "convert_dataset_path_to_short_name": "neuron_explainer.activation_server.dataset_paths",
    "load_neuron_from_datasets": _LOAD_NEURONS,
    "resolve_neuron_dataset": "neuron_explainer.activation_server.dataset_paths",
    "LoadedNeuron": _LOADING,
    "LoadedNeurons": _LOADING,
    "load_explanations": _LOADING,
    "load_neuron": _LOADING,
    "allow_nested_event_loops": _EVENT_LOOP,
    "run_coroutine": _EVENT_LOOP,
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
