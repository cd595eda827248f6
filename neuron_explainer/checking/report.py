"""`CheckReport`: what was checked of a model, and what was found."""

from __future__ import annotations

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
        places: with a reference: a row for each place and layer with the differences there.
        precision: with a reference: what each dtype costs at each place, here and there.
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
        return not self.failed and not self.is_reference_unused

    @property
    def is_reference_unused(self) -> bool:
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

        A comparison with a counterpart, which knows what is right at each place, goes before what a check alone says.
        """
        found = [each for each in self.failed if each.where is not None]
        places = [each.where for each in found if each.check == EVERY_PLACE] or [each.where for each in found]
        return min((each for each in places if each is not None), key=order_of, default=None)

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
        lines = [f"{self.model}{beside}: {self.verdict}"]
        lines += [f"  {each.status:<11}  {each.check}: {each.said}" for each in self.findings]
        return "\n".join(map(without_steering, lines))

    @property
    def verdict(self) -> str:
        """How many checks passed, in words."""
        n_checked = len(self.findings) - len(self.not_checked)
        left = f"; {len(self.not_checked)} could not be made" if self.not_checked else ""
        unused = ". The places were not compared with the reference's" if self.is_reference_unused else ""
        return f"{n_checked - len(self.failed)} of {n_checked} checks passed{left}{unused}"

    def __repr__(self) -> str:
        beside = "" if self.reference is None else f" beside {self.reference!r}"
        return f"<CheckReport of {self.model!r}{beside}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.checking.check_report import check_report_html

        return check_report_html(self)
