"""Undoing what llama.cpp's converter does to weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import TensorShapeError
from neuron_explainer.models.families.family import transposed, unchanged

Shape = tuple[int, ...]


def _same_shape(shape: Shape) -> Shape:
    return shape


@dataclass(frozen=True)
class Conversion:
    """From a tensor of the file to the tensor of a Hugging Face checkpoint.

    Attributes:
        convert: makes the one from the other.
        shape: makes its shape, without reading it.
        in_float32: whether the numbers must have at least 32 bits meanwhile.
    """

    convert: Callable[[Tensor], Tensor] = unchanged
    shape: Callable[[Shape], Shape] = _same_shape
    in_float32: bool = False

    def then(self, convert: Callable[[Tensor], Tensor]) -> "Conversion":
        """This conversion, and after it one that keeps the shape."""
        return Conversion(lambda tensor: convert(self.convert(tensor)), self.shape, self.in_float32)


UNCHANGED = Conversion()
TRANSPOSED = Conversion(transposed, lambda shape: shape[::-1])
"""The converter turns GPT-2's matrices, which are (inputs, outputs) in Hugging Face's checkpoints."""
WITHOUT_ONE = Conversion(lambda gain: gain - 1, in_float32=True)
"""Gemma's checkpoints have gains minus 1, and its GGUF files have the gains."""


def rows(start: int, stop: int) -> Conversion:
    """A part of a matrix: queries, keys or values alone."""
    return Conversion(
        lambda tensor: tensor[start:stop], lambda shape: (max(0, min(stop, shape[0]) - start), *shape[1:])
    )


def rotary_halves_from_pairs(weight: Float[Tensor, "rows ..."], n_heads: int) -> Float[Tensor, "rows ..."]:
    """Reorder the rows of a query or key weight from llama.cpp's order to Hugging Face's.

    The rotary embedding rotates pairs of channels. llama.cpp stores a head's pairs side by side: (0, 1), (2, 3), …;
    Hugging Face stores a pair's two channels half a head apart. In the wrong order a model still answers many prompts
    well, because only the dependence on positions is wrong.

    Args:
        weight: one row (or one bias) for each channel of each head, head after head.
        n_heads: the number of heads.

    Raises:
        TensorShapeError: the rows do not fit the heads.
    """
    if weight.shape[0] % (2 * n_heads):
        raise TensorShapeError(f"{weight.shape[0]} rows are not pairs of channels of {n_heads} heads.")
    by_pair = weight.view(n_heads, weight.shape[0] // n_heads // 2, 2, *weight.shape[1:])
    return by_pair.transpose(1, 2).reshape(weight.shape)


def by_group(weight: Float[Tensor, "rows ..."], n_heads: int, n_key_value_heads: int) -> Float[Tensor, "rows ..."]:
    """Reorder the rows of a fused matrix from all queries, keys and values to one key's group after the other.

    Args:
        weight: the rows (or biases) of all queries, then of all keys, then of all values.
        n_heads: the number of heads.
        n_key_value_heads: the number of keys; each has a group of queries, and a value.

    Raises:
        TensorShapeError: the rows do not fit the heads.
    """
    n_parts = n_heads + 2 * n_key_value_heads
    if weight.shape[0] % n_parts or n_heads % n_key_value_heads:
        raise TensorShapeError(
            f"{weight.shape[0]} rows are not the queries of {n_heads} heads and {n_key_value_heads} keys and values."
        )
    d_head = weight.shape[0] // n_parts
    queries, keys, values = weight.split([n_heads * d_head, n_key_value_heads * d_head, n_key_value_heads * d_head])
    grouped = [part.reshape(n_key_value_heads, -1, *weight.shape[1:]) for part in (queries, keys, values)]
    return torch.cat(grouped, dim=1).reshape(weight.shape)
