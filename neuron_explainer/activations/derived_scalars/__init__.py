"""Scalars derived from a model's activations and gradients on a prompt."""

from neuron_explainer._lazy import lazy_exports

_HERE = "neuron_explainer.activations.derived_scalars"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "DerivedScalarType": f"{_HERE}.derived_scalar_types",
    },
)
