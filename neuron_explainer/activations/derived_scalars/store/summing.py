"""Tensors summed over one of their axes."""

from neuron_explainer.activations.derived_scalars.store.shapes import Tensors
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor
from neuron_explainer.vocabulary.dimensions import Dimension


def summed_over(tensors: Tensors, dimension: Dimension) -> Tensors:
    """The tensors, with one axis summed, to length 1, in those that have it."""
    summed = {}
    for key, by_layer in tensors.items():
        axes = [axis for axis, named in enumerate(key[0].shape_spec_per_token_sequence) if named is dimension]
        summed[key] = {layer: _summed(tensor, axes[0]) if axes else tensor for layer, tensor in by_layer.items()}
    return summed


def _summed(tensor: Neurons, axis: int) -> Neurons:
    """A tensor summed over one axis, which stays with length 1."""
    if not isinstance(tensor, RoutedTensor):
        return tensor.sum(dim=axis, keepdim=True)
    neurons_axis = tensor.experts.ndim - 1
    if axis < neurons_axis:
        return tensor.dense().sum(dim=axis, keepdim=True)
    if axis > neurons_axis:
        return tensor.with_values(tensor.values.sum(dim=axis + 1, keepdim=True))
    return tensor.values.flatten(axis, axis + 1).sum(dim=axis, keepdim=True)
