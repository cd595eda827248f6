"""The registry of neuron datasets, and loading neurons by a dataset's name. No server runs here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
