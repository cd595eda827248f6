"""What patching found: each node's value and score, as a table, a picture and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
import pandas
from numpy.typing import NDArray

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.experiments.patching.nodes import coordinates
from neuron_explainer.experiments.patching.sites import PatchedNode
from neuron_explainer.vocabulary.checks import checked_number
from neuron_explainer.vocabulary.named_members import NamedMembers
from neuron_explainer.wording import counted

Numbers = NDArray[np.float64]


class PatchMethod(NamedMembers):
    """How a patch's effect is found."""

    EXACT = "exact"
    """The model is run with the patch."""
    GRADIENT = "gradient"
    """An estimate: what the patch changes, times the gradient in the run that is patched."""
    INTEGRATED = "integrated"
    """An estimate: what the patch changes, times the gradient's mean on the way from one run to the other."""


class PatchDirection(NamedMembers):
    """Which run is patched."""

    DENOISE = "denoise"
    """The corrupted run, with activations of the clean one: what is enough to restore the answer."""
    NOISE = "noise"
    """The clean run, with activations of the corrupted one: what is needed for the answer."""


@dataclass(frozen=True)
class PatchRequest:
    """What was asked.

    Attributes:
        at: what was patched.
        by: the axes that nodes are told apart by.
        method, direction: as `patch` takes them.
        title: what the metric is, in words.
        hints: what a person may have meant instead, such as an answer with its leading space; of one pair alone.
    """

    at: str
    by: tuple[str, ...]
    method: PatchMethod
    direction: PatchDirection
    title: str
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Patching:
    """What each patch does to the metric; `ne.patch` makes one.

    Attributes:
        request: what was asked.
        clean, corrupted: the tokens of both prompts; of several pairs, those of the first.
        clean_value, corrupted_value: the metric of each run; of several pairs, the means.
        nodes: what each patch wrote.
        names: the nodes' names.
        values: the metric with each node patched. With a gradient method: the estimate of it.
        scores: the same, where 0 is the corrupted run and 1 the clean one, in both directions.
        score_std: the standard deviation of the scores over pairs; None of one pair.
        pairs: the results of the single pairs; empty of one pair.
        checked: of a gradient method, the table of its strongest nodes, each also patched exactly: `estimate` and
            `measured` are changes of the metric of the run that is patched. None if nothing was checked.
    """

    request: PatchRequest
    clean: Prompt
    corrupted: Prompt
    clean_value: float
    corrupted_value: float
    nodes: tuple[PatchedNode, ...]
    names: Sequence[str]
    values: Numbers
    scores: Numbers
    score_std: Numbers | None = None
    pairs: tuple[Patching, ...] = ()
    checked: pandas.DataFrame | None = field(default=None)

    @property
    def untouched_score(self) -> float:
        """The score of a patch without effect: 0 where the corrupted run is patched, 1 where the clean one is."""
        return 0.0 if self.request.direction is PatchDirection.DENOISE else 1.0

    @property
    def spearman(self) -> float:
        """Of a gradient method: how well the order of the checked nodes agrees with that of exact patches, -1 to 1.

        It is NaN where fewer than two nodes were checked.
        """
        return math.nan if self.checked is None else float(self.checked.attrs["spearman"])

    def to_dataframe(self) -> pandas.DataFrame:
        """Every node in a row: its place on each axis, `name`, `value` and `score`.

        Of several pairs also `score_std`, the standard deviation of the scores over pairs, and `n`, their number.
        """
        return self._table(range(len(self.nodes)))

    def top(self, n: SupportsIndex = 10) -> pandas.DataFrame:
        """The rows of the n nodes whose patches change the score most, the strongest first.

        Raises:
            InvalidRequestError: `n` is not a whole number above 0.
        """
        return self._table(self.strongest[: checked_number("n", n)].tolist())

    @cached_property
    def changes(self) -> Numbers:
        """How much each patch changes the score of the run that is patched."""
        changes: Numbers = self.scores - self.untouched_score
        return changes

    @cached_property
    def strongest(self) -> NDArray[np.int64]:
        """The numbers of the nodes, those that change the score most first; those without a number last."""
        return np.argsort(-np.nan_to_num(np.abs(self.changes), nan=-1.0), kind="stable")

    def varies_at(self, position: int) -> bool:
        """Whether several pairs have different tokens at a position."""
        return position in self._varied

    @cached_property
    def _varied(self) -> frozenset[int]:
        """The positions at which several pairs have different tokens."""
        tokens = ((pair.clean.token_strings, pair.corrupted.token_strings) for pair in self.pairs)
        columns = zip(*(zip(*both, strict=True) for both in tokens), strict=False)
        return frozenset(position for position, own in enumerate(columns) if len(set(own)) > 1)

    def figure(self) -> Any:
        """A heatmap as a plotly figure: how much each patch changes the score, tokens on their axis."""
        from neuron_explainer.views.experiments.patching_figure import patching_figure

        return patching_figure(self)

    def _table(self, numbers: Sequence[int]) -> pandas.DataFrame:
        own = [coordinates(self.nodes[number], self.request.by) for number in numbers]
        columns: dict[str, Any] = {axis: [row[place] for row in own] for place, axis in enumerate(self.request.by)}
        columns["name"] = [self.names[number] for number in numbers]
        columns |= {"value": self.values[list(numbers)], "score": self.scores[list(numbers)]}
        if self.score_std is not None:
            columns |= {"score_std": self.score_std[list(numbers)], "n": len(self.pairs)}
        return TokenTable(columns)

    def _repr_html_(self) -> str:
        from neuron_explainer.views.experiments.patching_page import patching_html

        return patching_html(self)

    def __repr__(self) -> str:
        request, best = self.request, int(self.strongest[0])
        of_pairs = f" of {counted(len(self.pairs), 'pair')}" if self.pairs else ""
        return (
            f"Patching({request.at} by {' × '.join(request.by)}, {request.method.value}, {request.direction.value}"
            f"{of_pairs}: {request.title} {self.corrupted_value:.4g} corrupted, {self.clean_value:.4g} clean; "
            f"strongest of {counted(len(self.nodes), 'node')}: {self.names[best]}, score {self.scores[best]:.3g})"
        )
