"""Notebook widgets: ipywidgets that hold state and events, and show the views."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
