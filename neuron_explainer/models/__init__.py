"""Transformers that can be recorded and intervened on, and everything that loads them."""

from neuron_explainer._lazy import lazy_exports

_MODULE_BY_NAME = {
    "Transformer": "neuron_explainer.models.transformer",
    "TransformerConfig": "neuron_explainer.models.transformer_config",
    "Sampling": "neuron_explainer.models.sampling",
    "ModelContext": "neuron_explainer.models.model_context",
    "StandardModelContext": "neuron_explainer.models.model_context",
    "get_default_device": "neuron_explainer.models.model_context",
    "ModelTokenizer": "neuron_explainer.models.tokenizer",
    "InferenceEngineType": "neuron_explainer.models.inference_engine_type_registry",
    "RegisteredModel": "neuron_explainer.models.model_registry",
    "register_model": "neuron_explainer.models.model_registry",
    "load_model": "neuron_explainer.models.checkpoints",
    "register_family": "neuron_explainer.models.families.registry",
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
