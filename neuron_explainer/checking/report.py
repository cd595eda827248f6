"""`CheckReport`: what was checked of a model, and what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neuron_explainer.checking.comparison import order_of
from neuron_explainer.checking.findings import EVERY_PLACE, Finding, Where
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class CheckReport:
    """What `ne.check` found.

    Attributes:
        model: the model's name.
        reference: what it was compared with; None if it was checked alone.
        findings: what each check found, in the order in which they ran.
        places: with a reference: a row for each `place` and `layer`, in the order of a pass: `largest_difference`,
            `largest_magnitude` (of the reference), `relative` (the largest difference, as a share of the largest number
            at the token), and the `token` and `prompt` where it is.
        precision: with a reference: how far each `dtype` is from float64 at each `place` and `layer`, `here` and
            `in the reference`, each from its own pass in float64.
        seconds: how long it took.
    """

    model: str
    reference: str | None
    findings: Sequence[Finding]
    places: pandas.DataFrame | None = None
    precision: pandas.DataFrame | None = None
    seconds: float = field(default=0.0)

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and the places were compared with those of the reference, if there is one.

        What else could not be checked is not a fault: `not_checked` has it.
        """
        return not self.failed and not self.places_not_compared

    @property
    def places_not_compared(self) -> bool:
        """Whether there is a reference, but its places could not be compared with the model's."""
        return self.reference is not None and self.places is None

    @property
    def failed(self) -> list[Finding]:
        """The faults."""
        return [each for each in self.findings if each.status == "failed"]

    @property
    def not_checked(self) -> list[Finding]:
        """What could not be checked, and why."""
        return [each for each in self.findings if each.status == "not checked"]

    @property
    def first_difference(self) -> Where | None:
        """Where the first fault is that sits at a place, in the order in which a pass computes them.

        A comparison with a reference, which knows what is right at each place, goes before what a check alone says.
        """
        found = [each for each in self.failed if each.where is not None]
        places = [each.where for each in found if each.check == EVERY_PLACE] or [each.where for each in found]
        return min((each for each in places if each is not None), key=order_of, default=None)

    @property
    def places_that_differ(self) -> pandas.DataFrame | None:
        """The rows of `places` with a difference that is too large, in the order of a pass; None without `places`."""
        allowed = [each.allowed for each in self.findings if each.check == EVERY_PLACE]
        if self.places is None or not allowed:
            return None
        return self.places[~(self.places["relative"] <= allowed[0])]

    @property
    def in_order_of_weight(self) -> list[Finding]:
        """The findings: first what failed, then what passed, then what could not be checked."""
        order = {"failed": 0, "passed": 1, "not checked": 2}
        return sorted(self.findings, key=lambda each: order[each.status])

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each finding: check, status, what is said, difference, allowed, place, layer, token, prompt."""
        import pandas as pd

        rows = [
            (
                each.check,
                each.status,
                without_steering(each.said),
                each.difference,
                each.allowed,
                None if each.where is None else each.where.place.value,
                pd.NA if each.where is None or each.where.layer is None else each.where.layer,
                pd.NA if each.where is None or each.where.token is None else each.where.token,
                pd.NA if each.where is None or each.where.token is None else each.where.prompt,
            )
            for each in self.findings
        ]
        columns = ["check", "status", "said", "difference", "allowed", "place", "layer", "token", "prompt"]
        return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("layer", "token", "prompt"), "Int64"))

    def __str__(self) -> str:
        beside = "" if self.reference is None else f" beside {self.reference}"
        first = self.first_difference
        lines = [f"{self.model}{beside}: {self.verdict}", *([] if first is None else [f"  first difference: {first}"])]
        lines += [
            f"  {each.status:<11}  {each.check}: {each.said}{_by_how_much(each)}" for each in self.in_order_of_weight
        ]
        return "\n".join(map(without_steering, lines))

    @property
    def verdict(self) -> str:
        """How many checks passed, in words. A check may have found several things; it has passed if none is a fault."""
        wrong, fine, left_out = (
            {each.check for each in self.findings if each.status == status}
            for status in ("failed", "passed", "not checked")
        )
        n_checked, n_left = len(wrong | fine), len(left_out - wrong - fine)
        left = f"; {n_left} could not be made" if n_left else ""
        unused = ". The places were not compared with the reference's" if self.places_not_compared else ""
        return f"{n_checked - len(wrong)} of {n_checked} checks passed{left}{unused}"

    def __repr__(self) -> str:
        beside = "" if self.reference is None else f" beside {self.reference!r}"
        return f"<CheckReport of {self.model!r}{beside}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.checking.check_report import check_report_html

        return check_report_html(self)


def _by_how_much(finding: Finding) -> str:
    """The difference of a fault and what is allowed, if there are such."""
    if finding.status != "failed" or math.isnan(finding.allowed):
        return ""
    return f" The difference is {finding.difference:.2g}; {finding.allowed:.2g} is allowed."
