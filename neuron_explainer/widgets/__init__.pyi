from .attribution.attribution_viewer import AttributionViewer
from .neuron_viewer import NeuronViewer
from .neurons.choices import NeuronChoice
from .picking.dataset_picker import DatasetPicker
from .picking.node_picker import NodePicker

__all__ = [
    "AttributionViewer",
    "DatasetPicker",
    "NeuronChoice",
    "NeuronViewer",
    "NodePicker",
]
