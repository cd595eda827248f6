"""How alike heads are: the cosines of their OV or QK matrices, which are d_model × d_model and never made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.components.finite_weights import check_finite_rows
from neuron_explainer.components.heads.weights import Rows, key_rows, query_rows, value_rows, written_rows
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.watching import stop_if_asked

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component


def head_cosines(component: Component, by: str, layers: list[int]) -> dict[int, Float[Tensor, " heads"]]:
    """The cosine, by the Frobenius inner product, of a head's matrix and that of each head; NaN where one is 0.

    With the factors A, B and C, D of two matrices AᵀB and CᵀD, the product is the sum of the entries of (A Cᵀ)(B Dᵀ),
    entry by entry.

    Args:
        component: the head.
        by: "write" for OV matrices, "read" for QK matrices.
        layers: the layers of the others.

    Raises:
        NotAtHandError: the component has no model.
        StoppedError: the work is to stop.
        NonFiniteTensorError: a head's weights are infinite or NaN.
    """
    model = component.transformer(f"neighbours(by={by!r})")
    first, second = (part[component.index] for part in _factors(model.blocks[component.layer], by))
    own_norm = ((first @ first.T) * (second @ second.T)).sum().sqrt()
    found = {}
    for layer in layers:
        stop_if_asked()
        left, right = _factors(model.blocks[layer], by)
        products = (torch.einsum("cm,hem->hce", first, left) * torch.einsum("cm,hem->hce", second, right)).sum((1, 2))
        norms = ((left @ left.mT) * (right @ right.mT)).sum((1, 2)).sqrt()
        found[layer] = products / (norms * own_norm)
    return found


def _factors(block: Block, by: str) -> tuple[Rows, Rows]:
    """The two factors of each head's matrix; finite."""
    is_written = by == "write"
    factors = (value_rows if is_written else query_rows)(block), (written_rows if is_written else key_rows)(block)
    for each in factors:
        check_finite_rows(each, block.layer, "H", f"{by}s")
    return factors
