"""ipywidgets over the views: state and events."""

from neuron_explainer._lazy import lazy_exports

_MODULE_BY_NAME = {"NeuronViewer": "neuron_explainer.widgets.neuron_viewer"}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
