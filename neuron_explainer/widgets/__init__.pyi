from .neuron_viewer import NeuronViewer

__all__ = [
    "NeuronViewer",
]
