"""The checks that tensors are given by derived scalar, pass and layer, and have that scalar's axes."""

from collections.abc import Collection, Mapping

from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.devices import is_plain_float
from neuron_explainer.models.layers.dense_by_layer import DenseByLayer
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, values_of
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

TensorsByLayer = Mapping[int | None, Neurons]
Tensors = Mapping[tuple[DerivedScalarType, PassType], TensorsByLayer]
"""For each derived scalar and pass, one tensor for each layer (None for scalars without layers)."""


def by_members(tensors: Tensors) -> dict[tuple[DerivedScalarType, PassType], dict[int | None, Neurons]]:
    """The tensors, detached, by members and plain ints; layers ascend. Names and NumPy's and torch's ints are taken.

    Raises:
        InvalidRequestError: they are not in the form {(derived scalar type, pass type): {layer: tensor}}.
        UnknownNameError: a type or a pass does not exist.
    """
    result: dict[tuple[DerivedScalarType, PassType], dict[int | None, Neurons]] = {}
    for key, by_layer in tensors.items() if isinstance(tensors, Mapping) else [(tensors, tensors)]:
        if not isinstance(key, tuple) or len(key) != 2 or not isinstance(by_layer, Mapping):
            raise InvalidRequestError(
                f"tensors holds {shown(key)}. Give {{(derived scalar type, pass type): {{layer: tensor}}}}."
            )
        dst, pass_type = derived_scalar_type_of(key[0]), member_of(PassType, key[1], "pass type")
        plain: dict[int | None, Neurons] = {}
        for layer, tensor in by_layer.kept() if isinstance(by_layer, DenseByLayer) else by_layer.items():
            number = None if layer is None else whole_number(layer)
            if not isinstance(tensor, Tensor | RoutedTensor) or (number is None and layer is not None):
                raise InvalidRequestError(
                    f"tensors holds a {type(tensor).__name__} for layer {shown(layer)} of {dst.value}. Give a tensor "
                    "for each layer; None stands for no layer."
                )
            plain[number] = tensor.detach()
        result[dst, pass_type] = {layer: plain[layer] for layer in sorted(plain, key=layer_order)}
    return result


def layer_order(layer_index: int | None) -> int:
    """The key that sorts layers; None comes first."""
    return -1 if layer_index is None else layer_index


def check_shapes(tensors: Tensors, n_tokens: int, summed: Collection[Dimension]) -> None:
    """Refuse tensors that do not fit their derived scalar and the number of tokens.

    Args:
        tensors: without a batch axis.
        n_tokens: how many tokens the prompt has.
        summed: axes that have been summed, to length 1.

    Raises:
        InvalidRequestError: a tensor has other axes, an axis has another length or is empty, or the dtype is not of
            floating point with 16 bits or more.
    """
    lengths = {
        Dimension.SEQUENCE_TOKENS: n_tokens,
        Dimension.ATTENDED_TO_SEQUENCE_TOKENS: n_tokens,
        Dimension.SEQUENCE_TOKEN_PAIRS: n_tokens * (n_tokens + 1) // 2,
        Dimension.SINGLETON: 1,
        **dict.fromkeys(summed, 1),
    }
    for (dst, _), by_layer in tensors.items():
        dimensions = dst.shape_spec_per_token_sequence
        for layer_index, tensor in by_layer.items():
            if not is_plain_float(values_of(tensor)):
                dtype = str(tensor.dtype).removeprefix("torch.")
                raise InvalidRequestError(
                    f"{dst.value} of layer {layer_index} is of dtype {dtype}; it must be of floating point, with 16 "
                    "bits or more."
                )
            fits = tensor.ndim == len(dimensions) and all(
                length > 0 and lengths.get(dimension, length) == length
                for dimension, length in zip(dimensions, tensor.shape, strict=True)
            )
            if not fits:
                raise InvalidRequestError(
                    f"{dst.value} of layer {layer_index} has the shape {tuple(tensor.shape)}. For {n_tokens} tokens "
                    f"its axes are: {', '.join(dimensions)}."
                )
