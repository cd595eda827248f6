"""The contexts of recordings and interventions: each belongs to the thread and the asyncio task that entered it.

A forward pass sees the contexts that its own thread and task have entered, in order of entry, and nothing else. Which
ones they are is fixed when the pass begins, and travels with it.
"""

import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar, no_type_check

import torch

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.owners import Owner
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.hooks.taps import TapPlan

Hook = Recording | Intervention
"""What takes part in a pass."""
HookT = TypeVar("HookT", Recording, Intervention)


@dataclass(frozen=True, eq=False)
class _Entry:
    hook: Hook
    owner: Owner


class _OfThisThread(threading.local):
    def __init__(self) -> None:
        self.entries: tuple[_Entry, ...] = ()
        self.latest: TapPlan | None = None
        self.running: TapPlan | None = None


class Hooks:
    """The recordings and interventions of one model, kept apart by thread."""

    def __init__(self, n_layers: int) -> None:
        self.n_layers = n_layers
        self._local = _OfThisThread()
        self._without_hooks = TapPlan((), n_layers)

    def __reduce__(self) -> tuple[type["Hooks"], tuple[int]]:
        """A copy of a model starts without contexts."""
        return Hooks, (self.n_layers,)

    def begin_pass(self, hooks: Sequence[Hook] = ()) -> TapPlan:
        """The plan of a pass that starts now. The recordings that it will fill are emptied.

        Args:
            hooks: what takes part in this pass alone, after the contexts.
        """
        taking_part = (*self.entered(), *hooks)
        plan = self._local.latest if taking_part else self._without_hooks
        if plan is None or not plan.is_of(taking_part):
            plan = TapPlan(taking_part, self.n_layers)
            self._local.latest = None if hooks else plan
        for recording in plan.recordings:
            recording.clear()
        self._local.running = plan
        return plan

    def end_pass(self, plan_before: TapPlan | None) -> None:
        """The pass has ended; one that it interrupted goes on."""
        self._local.running = plan_before

    @property
    def running(self) -> TapPlan | None:
        """The plan of the pass that runs in this thread."""
        return self._local.running

    def enter(self, hook: Hook, owner: Owner) -> None:
        """Let a recording or intervention take part in the passes of this thread."""
        others = (
            entry
            for entry in self._local.entries
            if entry.owner.is_within() and not entry.owner.is_same_statement(owner)
        )
        self._local.entries = (*others, _Entry(hook, owner))

    def leave(self, hook: Hook) -> None:
        """Its context has ended.

        The thread may be another one than that which entered it: a generator can be closed anywhere. So the hook itself
        knows too that it has ended.
        """
        hook.has_ended = True
        self._local.entries = tuple(entry for entry in self._local.entries if entry.hook is not hook)
        self._local.latest = None

    def interventions(self) -> list[Intervention]:
        """The interventions that this thread has entered and that take part in its passes."""
        return [hook for hook in self.entered() if isinstance(hook, Intervention)]

    def entered(self) -> tuple[Hook, ...]:
        """The recordings and interventions that this thread has entered and that take part in its passes."""
        local = self._local
        if not local.entries:
            return ()
        local.entries = tuple(entry for entry in local.entries if not entry.hook.has_ended and entry.owner.is_within())
        return tuple(entry.hook for entry in local.entries if entry.owner.is_of_running_task())


class HookContext(AbstractContextManager[HookT], Generic[HookT]):
    """The context of one recording or intervention."""

    def __init__(self, hooks: Hooks, hook: HookT) -> None:
        self._hooks = hooks
        self._hook: HookT = hook
        self._was_entered = False
        self._grad_modes: list[AbstractContextManager[object]] = []

    @no_type_check  # a wrapper around this method would be taken for the frame that enters the context
    def __enter__(self) -> HookT:
        if self._was_entered:
            raise InvalidRequestError("This context was entered before. Call record or intervene again for another.")
        self._was_entered = True
        if isinstance(self._hook, Recording) and self._hook.gradients:
            # What is computed from recorded tensors needs the graph too, under torch.no_grad as well.
            if torch.is_inference_mode_enabled():
                self._enter_mode(torch.inference_mode(False))
            if not torch.is_grad_enabled():
                self._enter_mode(torch.enable_grad())
        self._hooks.enter(self._hook, Owner(sys._getframe(1)))
        return self._hook

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hooks.leave(self._hook)
        while self._grad_modes:
            self._grad_modes.pop().__exit__(kind, error, traceback)
        if isinstance(self._hook, Intervention) and error is None:
            self._hook.raise_if_never_fired()
            self._hook.warn_if_unchanged()

    def _enter_mode(self, mode: AbstractContextManager[object]) -> None:
        self._grad_modes.append(mode)
        mode.__enter__()
