"""Taps that leave the results of a pass as they are, bit for bit, unless an intervention changes something.

Some places exist only if the pass computes in another way than without them: the attention pattern without PyTorch's
fused kernel, a norm from its scale. Rounding then differs, in bfloat16 by enough to choose another token. So where a
tap changed nothing, the result has the value of the plain computation, and gradients flow through the tapped one.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from neuron_explainer.models.hooks.taps import Tap


def through_tap(tap: Tap, tensor: Tensor, through: Callable[[Tensor], Tensor], plain: Callable[[], Tensor]) -> Tensor:
    """The result of a computation from a tapped tensor.

    Args:
        tap: the tap.
        tensor: the tensor at the tap's place.
        through: computes the result from the tensor at the place.
        plain: computes the same result as a pass without the tap does.
    """
    if tap.only_observes:
        tap(tensor)
        return plain()
    with torch.no_grad():
        expected = plain()
        # Interventions may change the tensor in place, so what it would have led to is computed first.
        before = through(tensor) if tap.has_forward_interventions else None
    path = through(tap(tensor))
    return with_plain_value(path, expected, None if before is None else path.detach() == before)


def scaled_tap(tap: Tap | None, tensor: Tensor, factor: float) -> Tensor:
    """A tensor after a tap that sees `tensor * factor`."""
    if tap is None:
        return tensor
    return through_tap(tap, tensor * factor, lambda seen: seen / factor, lambda: tensor)


def with_plain_value(path: Tensor, plain: Tensor, same: Bool[Tensor, "..."] | None = None) -> Tensor:
    """The value of `plain` where `same` is true (None: everywhere), else that of `path`; gradients go to `path`."""
    if path.requires_grad:
        return _WithPlainValue.apply(path, plain.detach(), same)
    return plain if same is None else torch.where(same, plain, path)


class _WithPlainValue(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, path: Tensor, plain: Tensor, same: Tensor | None) -> Tensor:
        return plain.view_as(plain) if same is None else torch.where(same, plain, path)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None
