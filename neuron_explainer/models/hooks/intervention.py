"""Interventions: functions that replace the tensor at a place, or its gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.errors import InterventionNeverFiredError, InterventionResultError
from neuron_explainer.models.hooks.recording import PlaceAndLayer, name_of, names_of
from neuron_explainer.vocabulary.nodes import PassType


class Intervention:
    """A function that replaces the tensor at a place; `Transformer.intervene` makes one.

    `n_fired` counts how often it was applied.
    """

    def __init__(
        self,
        places: frozenset[PlaceAndLayer],
        fn: Callable[[Tensor], Tensor],
        pass_type: PassType,
        after_recording: bool,
    ) -> None:
        self.places = places
        self.fn = fn
        self.pass_type = pass_type
        self.after_recording = after_recording
        self.n_fired = 0
        self.has_ended = False

    def apply(self, key: PlaceAndLayer, tensor: Tensor) -> Tensor:
        """The function's result for a tensor, which it may change in place.

        Raises:
            InterventionResultError: the result is not a tensor of the same shape, dtype and device.
        """
        expected = (tuple(tensor.shape), tensor.dtype, tensor.device)
        result = self.fn(tensor)
        self.n_fired += 1
        if not isinstance(result, Tensor):
            raise InterventionResultError(
                f"The intervention at {name_of(*key)} returned {type(result).__name__}. It must return the new tensor, "
                "even if it changed the given one in place."
            )
        found = (tuple(result.shape), result.dtype, result.device)
        if found != expected:
            raise InterventionResultError(
                f"The intervention at {name_of(*key)} was given shape {expected[0]}, {expected[1]} on {expected[2]} "
                f"and returned shape {found[0]}, {found[1]} on {found[2]}. The two must be the same."
            )
        return result

    def raise_if_never_fired(self) -> None:
        """Called when its context ends: an intervention that was never applied is a mistake.

        Raises:
            InterventionNeverFiredError: it was never applied.
        """
        if self.n_fired:
            return
        reason = (
            "no backward pass reached it: call recording.backward within its context"
            if self.pass_type == PassType.BACKWARD
            else "no forward pass reached it within its context: logits_at=None computes no logits, and the places of "
            "online autoencoders exist only while one runs"
        )
        raise InterventionNeverFiredError(f"The intervention at {names_of(self.places)} was never applied; {reason}.")


class GradientReplaced(torch.autograd.Function):
    """The identity, with a function that replaces its gradient.

    A tensor's own hook is not enough: whether `torch.autograd.grad` shows its effect depends on the other inputs.
    """

    @staticmethod
    def forward(context: Any, tensor: Tensor, replaced: Callable[[Tensor], Tensor]) -> Tensor:
        """The tensor itself."""
        context.replaced = replaced
        return tensor.view_as(tensor)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The function's result for the gradient."""
        return context.replaced(gradients[0]), None
