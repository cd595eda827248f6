"""`PathPatching`: the result of path patching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.experiments.paths.running import PathRun
from neuron_explainer.experiments.paths.senders import Sender
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas

Numbers = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class PathPatching:
    """The metric with what each sender sends to the receivers; of several pairs of prompts, the means. It shows itself.

    Attributes:
        runs: the numbers of each pair of prompts.
        senders: what sends, in the order of the table.
        receivers: what receives, by name.
        title: what the metric is, in words.
        freeze: "heads" or "heads+mlps": what was frozen beside the senders.
        direction: "noise" if the clean run was changed, "denoise" if the corrupted one was.
        by_position: whether each sender is at one position.
        hints: what a person may have meant instead, such as an answer with its leading space; of one pair alone.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> pairs = ne.prompt_pairs("agreement", 4, model=model)
    >>> paths = ne.path_patch(model, pairs, senders="heads", receivers="L3H2/v")
    >>> list(paths.to_dataframe().columns[-5:])
    ['value_std', 'score', 'score_std', 'effect', 'n']
    """

    runs: tuple[PathRun, ...]
    senders: tuple[Sender, ...]
    receivers: str
    title: str
    freeze: str
    direction: str
    by_position: bool = False
    hints: tuple[str, ...] = ()

    @property
    def clean_value(self) -> float:
        """The metric on the clean prompt; the mean of several."""
        return float(np.mean([run.clean for run in self.runs]))

    @property
    def corrupted_value(self) -> float:
        """The metric on the corrupted prompt; the mean of several."""
        return float(np.mean([run.corrupted for run in self.runs]))

    @property
    def tokens(self) -> tuple[str, ...]:
        """The clean prompt's tokens; of several, the first one's."""
        return self.runs[0].tokens

    @property
    def values(self) -> Numbers:
        """The metric with each sender, (pairs, senders)."""
        return np.array([run.values for run in self.runs], dtype=np.float64)

    @property
    def scores(self) -> Numbers:
        """(value - corrupted) / (clean - corrupted) of each pair, (pairs, senders)."""
        clean, corrupted = self._of_runs
        return np.asarray((self.values - corrupted) / (clean - corrupted), dtype=np.float64)

    @property
    def effects(self) -> Numbers:
        """What each sender changes: the value minus that of the original run, (pairs, senders)."""
        clean, corrupted = self._of_runs
        return self.values - (clean if self.direction == "noise" else corrupted)

    @property
    def _of_runs(self) -> tuple[Numbers, Numbers]:
        """The metric of both prompts, (pairs, 1) each."""
        numbers = np.array([(run.clean, run.corrupted) for run in self.runs], dtype=np.float64)
        return numbers[:, :1], numbers[:, 1:]

    @property
    def pairs(self) -> list[PathPatching]:
        """The result of each pair of prompts alone."""
        return [replace(self, runs=(run,)) for run in self.runs]

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each sender, in their order.

        Columns: `name` (the sender), `layer` and `component` (None of several that send together, or without one);
        `position` and `token` with by="position"; `receivers`; `value`, the metric; `score`, 0 for the corrupted run
        and 1 for the clean one; `effect`, the value minus that of the original run. Of several pairs these are means,
        with `value_std`, `score_std` (standard deviations over pairs) and `n`, the number of pairs.
        """
        from neuron_explainer.activations.token_table import TokenTable

        columns: dict[str, Any] = {
            "name": [sender.label for sender in self.senders],
            "layer": _whole([sender.only.layer if sender.only else None for sender in self.senders]),
            "component": _whole([sender.only.component if sender.only else None for sender in self.senders]),
        }
        if self.by_position:
            positions = [int(sender.nodes[0].token_index or 0) for sender in self.senders]
            columns |= {"position": positions, "token": [self.tokens[position] for position in positions]}
        columns["receivers"] = self.receivers
        for column, numbers in (("value", self.values), ("score", self.scores)):
            columns[column] = numbers.mean(axis=0)
            if len(self.runs) > 1:
                columns[f"{column}_std"] = numbers.std(axis=0, ddof=1)
        columns["effect"] = self.effects.mean(axis=0)
        if len(self.runs) > 1:
            columns["n"] = len(self.runs)
        return TokenTable(columns)

    def top(self, n: SupportsIndex = 10) -> pandas.DataFrame:
        """The n rows of `to_dataframe` with the largest effects, the largest first.

        Raises:
            InvalidRequestError: `n` is not a whole number from 1 on.
        """
        number = checked_number("n", n)
        order = np.argsort(-np.abs(self.effects.mean(axis=0)), kind="stable")[:number]
        return self.to_dataframe().iloc[order].reset_index(drop=True)

    def figure(self) -> Any:
        """A plotly figure of the effects: layers × heads, or senders × tokens by position, or a bar for each sender."""
        from neuron_explainer.views.experiments.paths import paths_figure

        return paths_figure(self)

    def __repr__(self) -> str:
        pairs = f", mean of {len(self.runs)} pairs" if len(self.runs) > 1 else ""
        return (
            f"<PathPatching: {len(self.senders)} senders to {self.receivers}, {self.direction}, {self.freeze} frozen, "
            f"{self.title}: clean {self.clean_value:.4g}, corrupted {self.corrupted_value:.4g}{pairs}>"
        )

    def _repr_html_(self) -> str:
        from neuron_explainer.views.experiments.paths import paths_html

        return paths_html(self)


def _whole(numbers: Sequence[Any]) -> Any:
    """A column of whole numbers, some of which may be missing."""
    import pandas

    return pandas.array([each if isinstance(each, int) else None for each in numbers], dtype="Int64")
