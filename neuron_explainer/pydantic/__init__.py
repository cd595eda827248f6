"""Base models for what travels as JSON: camelCase on the wire, snake_case in Python, hashable where frozen."""

from neuron_explainer.pydantic.base_models import CamelCaseBaseModel, HashableBaseModel, immutable

__all__ = ["CamelCaseBaseModel", "HashableBaseModel", "immutable"]
