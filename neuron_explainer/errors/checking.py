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
        several = list({each.check: each.said for each in reversed(report.failed)}.items())[::-1]
        first = " ".join(f"{check}: {said}" for check, said in several[:3])
        more = f" And {len(several) - 3} more." if len(several) > 3 else ""
        super().__init__(
            f"{report.model} does not pass {len(several)} of its checks. {first}{more} The error's `report` has "
            "all. To use the model all the same, load it without check=True."
        )
