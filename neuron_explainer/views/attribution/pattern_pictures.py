"""Attention patterns as small pictures, PNG files in the page: a pixel for each pair of tokens, or block of pairs."""

import base64
import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from neuron_explainer.views.colour import N_LEVELS, background_of_level

LARGEST = 48
"""The most pixels of a picture's side, and how many of the page it takes."""

NO_PAIR = "#e4e8ec"
"""The colour of pairs that do not exist: a token does not attend to those behind it."""

_MASKED = N_LEVELS + 1  # its number among the colours
_PALETTE = [
    int(colour[start : start + 2], 16)
    for colour in (*(background_of_level(level) for level in range(N_LEVELS + 1)), NO_PAIR)
    for start in (1, 3, 5)
]


def pictures(weights: Tensor, limit: float) -> list[str]:
    """The pattern of each head of a layer as an address of a PNG file that holds itself.

    Args:
        weights: (attended from, attended to, heads), on any device. Of more than 48 tokens each pixel is the largest
            weight of a block.
        limit: the weight of the deepest colour.
    """
    return [_address(Image.fromarray(each)) for each in _colours(weights, limit, LARGEST)]


def strip(weights: Tensor, limit: float, largest: int, zoom: int, gap: int) -> str:
    """The patterns of all heads of a layer in one picture, from left to right, each with a white gap behind it.

    One file for a layer is smaller than one for each head.

    Args:
        weights, limit: as for `pictures`.
        largest: the most pairs, or blocks of pairs, of a pattern's side.
        zoom: how many pixels a pair is wide and high.
        gap: how many pixels are between two patterns.
    """
    numbers = _colours(weights, limit, largest).repeat(zoom, 1).repeat(zoom, 2)
    return _address(Image.fromarray(np.hstack(list(np.pad(numbers, ((0, 0), (0, 0), (0, gap)))))))


def _colours(weights: Tensor, limit: float, largest: int) -> NDArray[np.uint8]:
    """The number of each pixel's colour, (heads, attended from, attended to)."""
    levels = (reduced(weights, largest).float() / (limit or 1.0)).clamp(0.0, 1.0).nan_to_num(0.0).mul(N_LEVELS).round()
    numbers = levels.to(torch.uint8)
    n_rows, n_columns = numbers.shape[:2]
    is_pair = torch.ones(n_rows, n_columns, dtype=torch.bool, device=numbers.device).tril()
    numbers = torch.where(is_pair[:, :, None], numbers, _MASKED).movedim(2, 0).contiguous().cpu()
    return np.asarray(numbers.numpy())


def reduced(weights: Tensor, largest: int = LARGEST) -> Tensor:
    """The weights with at most `largest` rows and columns, each the largest weight of a block of pairs."""
    for axis in (0, 1):
        size = -(-weights.shape[axis] // largest)
        if size > 1:
            weights = torch.cat([each.amax(axis, keepdim=True) for each in weights.split(size, axis)], axis)
    return weights


def _address(image: Image.Image) -> str:
    image.putpalette(_PALETTE)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
