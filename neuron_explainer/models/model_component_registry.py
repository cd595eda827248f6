"""The vocabulary of places, at its path in Transformer Debugger. Its home is `neuron_explainer.vocabulary`."""

from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import AttnSubNode, LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.vocabulary.weights import WeightLocationType

__all__ = [
    "ActivationLocationType",
    "AttnSubNode",
    "Dimension",
    "LocationWithinLayer",
    "NodeType",
    "PassType",
    "WeightLocationType",
]
