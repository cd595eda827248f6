"""The error of a model that does not pass its checks."""

from __future__ import annotations

from typing import Any

from neuron_explainer.errors.base import NeuronExplainerError


class ModelCheckError(NeuronExplainerError, ValueError):
    """A model was loaded with `check=True`, and a check failed.

    Attributes:
        report: what `ne.check` found.
    """

    def __init__(self, report: Any) -> None:
        self.report = report
        first = "; ".join(f"{each.check}: {each.said}" for each in report.failed[:3])
        more = f"; and {len(report.failed) - 3} more" if len(report.failed) > 3 else ""
        super().__init__(
            f"{report.model} does not pass {len(report.failed)} of its checks. {first}{more} The error's `report` has "
            "all. To use the model all the same, load it without check=True."
        )
