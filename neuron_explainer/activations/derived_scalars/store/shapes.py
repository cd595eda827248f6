"""The check that tensors have the axes of their derived scalar."""

from collections.abc import Collection, Mapping

from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType

TensorsByLayer = Mapping[int | None, Tensor]
Tensors = Mapping[tuple[DerivedScalarType, PassType], TensorsByLayer]
"""For each derived scalar and pass, one tensor for each layer (None for scalars without layers)."""


def check_shapes(tensors: Tensors, n_tokens: int, summed: Collection[Dimension]) -> None:
    """Refuse tensors that do not fit their derived scalar and the number of tokens.

    Args:
        tensors: without a batch axis.
        n_tokens: how many tokens the prompt has.
        summed: axes that have been summed, to length 1.

    Raises:
        InvalidRequestError: a tensor has other axes, or an axis has another length.
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
            fits = tensor.ndim == len(dimensions) and all(
                lengths.get(dimension, length) == length
                for dimension, length in zip(dimensions, tensor.shape, strict=True)
            )
            if not fits:
                raise InvalidRequestError(
                    f"{dst.value} of layer {layer_index} has the shape {tuple(tensor.shape)}. For {n_tokens} tokens "
                    f"its axes are: {', '.join(dimensions)}."
                )
