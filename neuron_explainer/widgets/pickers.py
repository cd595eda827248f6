"""The pickers: parts of `ne.NeuronViewer`, and widgets of their own."""

from neuron_explainer.widgets.picking.dataset_picker import DatasetPicker
from neuron_explainer.widgets.picking.node_picker import NodePicker

__all__ = ["DatasetPicker", "NodePicker"]
