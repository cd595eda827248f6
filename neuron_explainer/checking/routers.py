"""How far passes are apart where a router may choose another expert."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from neuron_explainer.checking.comparison import PlaceDifference
from neuron_explainer.models.transformer_config import TransformerConfig


def router_may_flip(config: TransformerConfig, dtype: torch.dtype) -> bool:
    """Whether a router often chooses another expert at a token, as with 16 bits, where two have nearly equal scores."""
    return config.n_experts > 0 and dtype.itemsize == 2


def settled(
    apart: PlaceDifference, config: TransformerConfig, dtype: torch.dtype, real: Bool[Tensor, "batch tokens"]
) -> PlaceDifference:
    """The difference that counts: the largest; where a router may flip, that of the median token.

    Args:
        apart: the difference.
        config: the model's.
        dtype: that of the pass.
        real: which tokens are real.
    """
    if not router_may_flip(config, dtype):
        return apart
    return replace(apart, relative=apart.at_median(real))
