"""Why a prediction: direct effects that add up, the nodes that matter, ablation, tracing."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
