"""The derived scalar types, at their path in Transformer Debugger. Their home is `neuron_explainer.vocabulary`."""

from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

__all__ = ["DerivedScalarType"]
