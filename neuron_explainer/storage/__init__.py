"""Reads bytes from the network (through the disk cache) and from local files, and writes files atomically."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
