from .attribution.attribution_viewer import AttributionViewer
from .neuron_viewer import NeuronViewer
from .neurons.choices import NeuronChoice

__all__ = [
    "AttributionViewer",
    "NeuronChoice",
    "NeuronViewer",
]
