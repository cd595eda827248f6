"""One ablation that a person asked for: whether it changed any number, in all the passes of the call.

Only the call that a person makes notes it. What is computed on the way, such as the passes of a table, does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.notices import UnchangedByInterventionWarning, warn

UNCHANGED = "(changed no number)"


@dataclass
class AskedChange:
    """The interventions that write one ablation.

    Attributes:
        what: the ablation in words; None if nobody asked for a single one.
        hooks: the interventions, one for each pass; they are filled in as passes begin.
    """

    what: str | None
    hooks: list[Intervention] = field(default_factory=list)

    @property
    def is_noted(self) -> bool:
        """Whether interventions note what they change."""
        return self.what is not None

    @property
    def changed(self) -> bool | None:
        """Whether any number changed in any pass; None if nothing was noted. Reading it waits for a GPU."""
        known = [hook.changed for hook in self.hooks if hook.changed is not None]
        return any(known) if known else None


_ASKED: ContextVar[AskedChange | None] = ContextVar("asked_change", default=None)


def current_asked_change() -> AskedChange | None:
    """What the running call notes; None if it notes nothing."""
    asked = _ASKED.get()
    return asked if asked is not None and asked.is_noted else None


@contextmanager
def asked_change(what: str | None) -> Iterator[AskedChange]:
    """Within it, the last ablation of every pass notes whether it changes a number. The outermost context counts.

    Args:
        what: the ablation in words; None: nothing is noted in it, nor in the contexts within it.

    Warns:
        UnchangedByInterventionWarning: at its end, if it was applied and changed no number.
    """
    outer = _ASKED.get()
    if outer is not None:
        yield AskedChange(None)
        return
    asked = AskedChange(what)
    token = _ASKED.set(asked)
    try:
        yield asked
    finally:
        _ASKED.reset(token)
    if asked.changed is False:
        warn(
            f"The ablation {what} was applied and changed no number: what it wrote is what was there before.",
            UnchangedByInterventionWarning,
        )
