from .attribution.attribution_viewer import AttributionViewer
from .choices import NeuronChoice
from .neuron_viewer import NeuronViewer

__all__ = [
    "AttributionViewer",
    "NeuronChoice",
    "NeuronViewer",
]
