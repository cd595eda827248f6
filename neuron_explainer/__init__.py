"""Look inside language models in a notebook: what does this neuron do, and why did the model say that?"""

from neuron_explainer._lazy import lazy_exports

__version__ = "0.1.0"

_MODULE_BY_NAME = {
    # Neuron datasets and their records
    "datasets": "neuron_explainer.activation_server.neuron_datasets",
    "register_dataset": "neuron_explainer.activation_server.neuron_datasets",
    "register_neuron_dataset_metadata": "neuron_explainer.activation_server.neuron_datasets",
    "load_neuron": "neuron_explainer.activation_server.loading",
    "load_neurons": "neuron_explainer.activation_server.loading",
    "NeuronRecord": "neuron_explainer.activations.activations",
    "ActivationRecord": "neuron_explainer.activations.activations",
    "NeuronId": "neuron_explainer.activations.activations",
    "clear_cache": "neuron_explainer.storage.disk_cache",
    "NeuronViewer": "neuron_explainer.widgets.neuron_viewer",
    # Models
    "load_model": "neuron_explainer.models.checkpoints",
    "check_parity": "neuron_explainer.models.parity",
    "ActivationLocationType": "neuron_explainer.models.model_component_registry",
    "NodeType": "neuron_explainer.models.model_component_registry",
    "PassType": "neuron_explainer.models.model_component_registry",
    # Derived scalars
    "DerivedScalarType": "neuron_explainer.activations.derived_scalars.derived_scalar_types",
    "DstConfig": "neuron_explainer.activations.derived_scalars.config",
    "LossFnConfig": "neuron_explainer.activations.derived_scalars.loss",
    "LossFnName": "neuron_explainer.activations.derived_scalars.loss",
    "derive": "neuron_explainer.activations.derived_scalars.derive",
    "derive_batch": "neuron_explainer.activations.derived_scalars.derive",
    # One's own neuron datasets. `collate` is a package that can be called.
    "collate": "neuron_explainer.collate",
    "live_record": "neuron_explainer.collate.live",
    # Everything that can go wrong
    "errors": "neuron_explainer.errors",
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
