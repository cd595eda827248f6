"""One check's outcome, and the distance between two results."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was checked.
        passed: whether it holds; None if this machine cannot tell.
        detail: the figures, or why it was skipped.
    """

    name: str
    passed: bool | None
    detail: str

    def __str__(self) -> str:
        verdict = {True: "PASS", False: "FAIL", None: "SKIP"}[self.passed]
        return f"{verdict} {self.name}: {self.detail}"


def run_checks(name: str, checks: Callable[[], Iterable[Check]]) -> list[Check]:
    """The outcomes of some checks; an error fails, and does not keep others from being run."""
    try:
        return list(checks())
    except Exception as error:
        return [Check(name, False, f"{type(error).__name__}: {error}")]


def relative_error(actual: Tensor, reference: Tensor) -> float:
    """The norm of the difference, divided by the norm of the reference (if that is 0: the norm of the difference).

    Numbers that are not finite (masked attention logits) must be the same in both; otherwise the error is infinite.
    """
    if actual.shape != reference.shape:
        return float("inf")
    actual, reference = (tensor.detach().to("cpu", torch.float64) for tensor in (actual, reference))
    finite = reference.isfinite()
    if not actual[finite].isfinite().all() or not torch.equal(actual[~finite], reference[~finite]):
        return float("inf")
    size = float(reference[finite].norm())
    return float((actual[finite] - reference[finite]).norm()) / (size or 1.0)
