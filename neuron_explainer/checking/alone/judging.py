"""Differences that rounding alone makes large: how they are judged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from jaxtyping import Bool
from torch import Tensor

from neuron_explainer.checking.comparison import PlaceDifference
from neuron_explainer.checking.routers import router_may_flip, settled
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_FEW = 8
"""With fewer numbers at a token, all of them may be near zero, where terms of a sum cancel."""
_NEVER_NEAR_ZERO = frozenset(
    {
        ActivationLocationType.ATTN_INPUT_LAYER_NORM_SCALE,
        ActivationLocationType.MLP_INPUT_LAYER_NORM_SCALE,
        ActivationLocationType.RESID_FINAL_LAYER_NORM_SCALE,
    }
)


def of_place(model: Transformer, difference: PlaceDifference) -> PlaceDifference:
    """A difference, as a share of the largest number of all tokens where a token has only a few.

    Args:
        model: the model.
        difference: how far two passes are apart at a place.
    """
    place = difference.where.place
    sizes = [model.config.size_of(dimension) for dimension in place.shape[1:]]  # the first are the tokens
    if place in _NEVER_NEAR_ZERO or not difference.magnitude or math.prod(size or _FEW for size in sizes) >= _FEW:
        return difference
    return replace(difference, relative=difference.absolute / difference.magnitude)


def of_passes(
    model: Transformer, several: Iterable[PlaceDifference], real: Bool[Tensor, "batch tokens"]
) -> list[PlaceDifference]:
    """Differences between two ways to compute the same, by the median token where experts are chosen.

    A router may choose another expert at a token, in one of the ways, where two have nearly equal scores; with 16 bits
    that is common.

    Args:
        model: the model.
        several: the differences, place by place.
        real: which tokens are real; (batch, tokens).
    """
    if router_may_flip(model.config, model.dtype):
        return [settled(each, model.config, model.dtype, real) for each in several]
    return [of_place(model, each) for each in several]
