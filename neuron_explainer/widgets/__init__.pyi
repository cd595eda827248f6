from .choices import NeuronChoice
from .neuron_viewer import NeuronViewer

__all__ = [
    "NeuronChoice",
    "NeuronViewer",
]
