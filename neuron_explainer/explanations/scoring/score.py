"""`ExplanationScore`: what a scorer found, with its interval, baselines and single judgements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas

from neuron_explainer.errors import shown
from neuron_explainer.wording import without_steering


@dataclass(frozen=True, eq=False, repr=False)
class ExplanationScore:
    """How good an explanation is by one scorer; `ne.score` gives it.

    Attributes:
        explanation: the explanation's text.
        component: the component's name.
        scorer: the scorer's name.
        measure: what `value` is, such as "AUROC" or "correlation".
        value: the score; NaN where it is not defined, and `note` says why.
        interval: from where to where 95 % of the values lie that resampled texts give (bootstrap); NaN if unknown.
        chance: the value of an explanation that says nothing.
        baselines: the same measure of other explanations, by what they are.
        measures: further measures, by their names.
        judgements: the single judgements or predictions, a row each.
        note: what there is to say of it; empty if nothing.
    """

    explanation: str
    component: str
    scorer: str
    measure: str
    value: float
    interval: tuple[float, float] = (math.nan, math.nan)
    chance: float = 0.0
    baselines: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    judgements: pandas.DataFrame = field(default_factory=pandas.DataFrame)
    note: str = ""

    def to_dataframe(self) -> pandas.DataFrame:
        """The single judgements. Control and direction characters of tokens and texts become escapes."""
        table = self.judgements.copy()
        for place in range(table.shape[1]):
            column = table.iloc[:, place]
            if column.map(lambda value: isinstance(value, str)).any():
                table.isetitem(place, [_without_steering(value) for value in column])
        return table

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        low, high = self.interval
        interval = "" if math.isnan(low) else f" ({low:.2f} to {high:.2f})"
        baselines = "".join(f"; {name} {value:.2f}" for name, value in self.baselines.items())
        note = f"; {self.note}" if self.note else ""
        said = (
            f"<ExplanationScore of {self.component} by {self.scorer}: {self.measure} {self.value:.2f}{interval}"
            f"{baselines}{note}: {shown(self.explanation, 60)}>"
        )
        return without_steering(said)

    def _repr_html_(self) -> str:
        from neuron_explainer.views.explanations.scored import score_html

        return score_html(self)


def _without_steering(value: object) -> object:
    return without_steering(value) if isinstance(value, str) else value
