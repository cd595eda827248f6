"""The registry of neuron datasets, and loading neurons by a dataset's name. No server runs here."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
