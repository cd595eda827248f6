"""Make a neuron dataset from a model and text: locally or on Ray, resumable, checked."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
