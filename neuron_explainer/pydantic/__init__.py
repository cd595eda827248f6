"""Base classes for pydantic models: camelCase in JSON and snake_case in Python, hashable, immutable."""

from neuron_explainer.pydantic.base_models import CamelCaseBaseModel, HashableBaseModel, immutable

__all__ = ["CamelCaseBaseModel", "HashableBaseModel", "immutable"]
