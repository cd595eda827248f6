"""What a check found, and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from neuron_explainer.vocabulary.places import ActivationLocationType

EVERY_PLACE = "every place beside the reference"
"""The check that compares all places with those of a reference."""

Part = tuple[str, Callable[[], Iterable["Finding"]]]
"""What a check is called, and what makes it."""

Status = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class Where:
    """A place of a pass.

    Attributes:
        place: the place.
        layer: its layer; None for a place without layers.
        token: the token's position in its prompt; None if it is about all of them.
        prompt: the number of the prompt, from 0.

    >>> str(Where(ActivationLocationType.MLP_PRE_ACT, 3, 5))
    'mlp.pre_act of layer 3 at token 5'
    >>> str(Where(ActivationLocationType.LOGITS, token=2, prompt=1))
    'logits at token 2 of prompt 1'
    """

    place: ActivationLocationType
    layer: int | None = None
    token: int | None = None
    prompt: int = 0

    def __str__(self) -> str:
        layer = "" if self.layer is None else f" of layer {self.layer}"
        token = "" if self.token is None else f" at token {self.token}"
        prompt = f" of prompt {self.prompt}" if self.prompt else ""
        return f"{self.place.value}{layer}{token}{prompt}"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was checked, such as "cache against none".
        status: "passed", "failed" or "not checked".
        said: what was compared, what differs, or why it was not checked.
        difference: the largest difference, as a share of what is at the token; NaN if nothing is compared by numbers.
        allowed: how large it may be.
        where: where the first difference is.
    """

    check: str
    status: Status
    said: str
    difference: float = math.nan
    allowed: float = math.nan
    where: Where | None = None


def passed(check: str, said: str, difference: float = math.nan, allowed: float = math.nan) -> Finding:
    """A finding without a fault."""
    return Finding(check, "passed", said, difference, allowed)


def failed(
    check: str, said: str, difference: float = math.nan, allowed: float = math.nan, where: Where | None = None
) -> Finding:
    """A fault."""
    return Finding(check, "failed", said, difference, allowed, where)


def not_checked(check: str, why: str) -> Finding:
    """What could not be checked, and why."""
    return Finding(check, "not checked", why)
