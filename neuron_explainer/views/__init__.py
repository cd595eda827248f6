"""Plain functions that turn a record or a result into HTML or a plotly figure."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
