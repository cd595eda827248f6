"""Scalars derived from a model's activations and gradients on a prompt."""

from neuron_explainer._lazy import lazy_exports

_HERE = "neuron_explainer.activations.derived_scalars"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "DerivedScalarType": f"{_HERE}.derived_scalar_types",
        "DerivedScalarIndex": f"{_HERE}.indexing",
        "ActivationIndex": f"{_HERE}.indexing",
        "NodeIndex": f"{_HERE}.indexing",
        "AttnSubNodeIndex": f"{_HERE}.indexing",
        "TraceConfig": f"{_HERE}.indexing",
        "AttentionTraceType": f"{_HERE}.indexing",
        "PreOrPostAct": f"{_HERE}.indexing",
        "AblationSpec": f"{_HERE}.indexing",
        "DstConfig": f"{_HERE}.config",
        "DerivedScalarStore": f"{_HERE}.derived_scalar_store",
        "load_autoencoders": f"{_HERE}.autoencoder_sources",
        "derive": f"{_HERE}.derive",
        "derive_batch": f"{_HERE}.derive",
        "BatchDeriver": f"{_HERE}.derive",
        "LossFnConfig": f"{_HERE}.loss",
        "LossFnName": f"{_HERE}.loss",
    },
)
