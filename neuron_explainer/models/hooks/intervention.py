"""Interventions: functions that replace the tensor at a place, or its gradient."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from neuron_explainer.errors import InterventionNeverFiredError, InterventionResultError
from neuron_explainer.models.hooks.applied_at import AppliedAt, InterventionFunction, takes_where
from neuron_explainer.models.hooks.recording import PlaceAndLayer, name_of, names_of
from neuron_explainer.models.layers.span import Span
from neuron_explainer.notices import UnchangedByInterventionWarning, warn
from neuron_explainer.vocabulary.nodes import PassType


class Intervention:
    """A function that replaces the tensor at a place; `Transformer.intervene` makes one.

    `n_fired` counts how often it was applied. `changed` tells whether it changed a number.
    """

    def __init__(
        self,
        places: frozenset[PlaceAndLayer],
        fn: InterventionFunction,
        pass_type: PassType,
        after_recording: bool,
        notes_change: bool = False,
    ) -> None:
        self.places = places
        self.fn: Callable[..., Any] = fn
        self.pass_type = pass_type
        self.after_recording = after_recording
        self.notes_change = notes_change
        self.n_fired = 0
        self.has_ended = False
        self._takes_where = takes_where(fn)
        self._changed: Bool[Tensor, ""] | None = None

    @property
    def changed(self) -> bool | None:
        """Whether it changed any number so far, in any of its applications.

        None before it was applied, and if nobody notes that (`notes_change=False`). Noting does not make a GPU wait;
        reading this does.
        """
        return None if self._changed is None else bool(self._changed)

    def apply(self, key: PlaceAndLayer, tensor: Tensor, span: Span, may_overwrite: bool = True) -> tuple[Tensor, bool]:
        """The function's result for a tensor.

        Args:
            key: the place and layer.
            tensor: the tensor there.
            span: the tokens of the pass.
            may_overwrite: whether the function may change the tensor in place; otherwise it is given a copy.

        Returns:
            The result, and whether it is the memory that the function was given.

        Raises:
            InterventionResultError: the result is not a tensor of the same shape, dtype and device.
        """
        expected = (tuple(tensor.shape), tensor.dtype, tensor.device)
        given = tensor if may_overwrite and not self.notes_change else tensor.clone()
        result = self.fn(given, AppliedAt(*key, span)) if self._takes_where else self.fn(given)
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
        if self.notes_change:
            self._note(tensor, result)
        return result, result.data_ptr() == given.data_ptr()

    @torch.no_grad()
    def _note(self, before: Tensor, after: Tensor) -> None:
        """Keep one truth value on the device; NaN that stays NaN is no change."""
        before, after = before.detach(), after.detach()
        changed = ((before != after) & ~(before.isnan() & after.isnan())).any()
        self._changed = changed if self._changed is None else self._changed | changed

    def warn_if_unchanged(self, what: str = "") -> None:
        """Called where a person asked for this one change: one that changes nothing may be a mistake.

        Args:
            what: what was to be changed; empty: the places.

        Warns:
            UnchangedByInterventionWarning: it was applied, and changed no number.
        """
        if self.changed is False:
            times = "once" if self.n_fired == 1 else f"{self.n_fired:,} times"
            warn(
                f"{what or f'The intervention at {names_of(self.places)}'} was applied {times} and changed no number: "
                "what it gave is what was there before.",
                UnchangedByInterventionWarning,
            )

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
