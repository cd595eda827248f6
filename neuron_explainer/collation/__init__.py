"""Make a neuron dataset from a model and text: locally or on Ray, resumable, checked."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
