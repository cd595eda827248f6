"""From read questions to results: the runs of each pair, and their means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from neuron_explainer.attribution.changes.ranks import beside_measured
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.experiments.asking.given_pairs import GivenPairs
from neuron_explainer.experiments.asking.two_prompts import TwoPrompts
from neuron_explainer.experiments.patching.exact import exact_values, n_batches
from neuron_explainer.experiments.patching.gradients import gradient_effects, integrated_effects
from neuron_explainer.experiments.patching.nodes import nodes_of
from neuron_explainer.experiments.patching.patching import PatchDirection, Patching, PatchMethod, PatchRequest
from neuron_explainer.experiments.patching.runs import TwoRuns
from neuron_explainer.experiments.patching.sites import PatchedNode, Site
from neuron_explainer.models.watching import part_of_work

_FEW = 100
"""So many patches, or passes with gradients, take no bar."""


@dataclass(frozen=True)
class Patcher:
    """Patches the nodes of a site.

    Attributes:
        site: what is patched.
        request: what was asked.
        steps: how many gradients integrated gradients are the mean of.
        check: how many of the strongest nodes of an estimate are patched exactly.
        progress: whether there is a bar; None: on a terminal or in a notebook, if there is much to do.
    """

    site: Site
    request: PatchRequest
    steps: int
    check: int
    progress: bool | None

    def result(self, given: GivenPairs) -> Patching:
        """The result of one pair, or the means of several."""
        nodes = tuple(nodes_of(self.site, self.request.by, len(given.pairs[0].clean.token_ids)))
        is_exact = self.request.method is PatchMethod.EXACT
        n_checked = 0 if is_exact else min(self.check, len(nodes))
        n_units = len(nodes) if is_exact else len(self.site.keys)
        n_all = len(given.pairs) * (n_units + n_checked)
        show = self.progress if self.progress is not None else None if n_all > _FEW else False
        n_parts = len(given.pairs) * (2 if n_checked else 1)
        names = [str(self.site.name(node)) for node in nodes]
        results = []
        # Within a user's inference mode, what is recorded could not take part in a graph.
        with torch.inference_mode(False), passes_bar(n_all, show, "patching", "patch" if is_exact else "part") as done:
            for number, pair in enumerate(given.pairs):
                with part_of_work(number, n_parts):
                    results.append(self._of_pair(pair, nodes, names, done))
            result = results[0] if given.is_one else _means(results, self.request)
            if n_checked:
                result = self._checked(result, given.pairs, n_checked, n_parts, done)
        return result

    def _runs(self, pair: TwoPrompts, n_parts_after: int) -> TwoRuns:
        """The two runs; so many parts of the work come after them."""
        with part_of_work(0, 1 + n_parts_after):
            return TwoRuns(self.site, pair, self.request.direction is PatchDirection.DENOISE)

    def _runs_to_patch(self, pair: TwoPrompts, nodes: Sequence[PatchedNode]) -> TwoRuns:
        return self._runs(pair, n_batches(self.site.bound.model, pair, nodes))

    def _of_pair(
        self, pair: TwoPrompts, nodes: tuple[PatchedNode, ...], names: Sequence[str], done: Callable[[int], object]
    ) -> Patching:
        match self.request.method:
            case PatchMethod.EXACT:
                runs = self._runs_to_patch(pair, nodes)
                values = np.array(exact_values(runs, nodes, done))
            case PatchMethod.GRADIENT:
                runs = self._runs(pair, 1)
                values = runs.patched_value + np.array(gradient_effects(runs, nodes, done))
            case PatchMethod.INTEGRATED:
                runs = self._runs(pair, len(self.site.keys))
                values = runs.patched_value + np.array(integrated_effects(runs, nodes, self.steps, done))
        scores = (values - runs.corrupted_value) / (runs.clean_value - runs.corrupted_value)
        request = replace(self.request, title=pair.title)
        return Patching(
            request, pair.clean, pair.corrupted, runs.clean_value, runs.corrupted_value, nodes, names, values, scores
        )

    def _checked(
        self,
        result: Patching,
        pairs: Sequence[TwoPrompts],
        n_checked: int,
        n_parts: int,
        done: Callable[[int], object],
    ) -> Patching:
        """The result with its strongest nodes patched exactly, in every pair."""
        chosen = result.strongest[:n_checked].tolist()
        nodes = [result.nodes[number] for number in chosen]
        singles = result.pairs or (result,)
        estimates, measured = [], []
        for number, (pair, single) in enumerate(zip(pairs, singles, strict=True)):
            with part_of_work(len(pairs) + number, n_parts):
                runs = self._runs_to_patch(pair, nodes)
                measured.append(np.array(exact_values(runs, nodes, done)) - runs.patched_value)
            estimates.append(single.values[chosen] - runs.patched_value)
        columns = {"name": [result.names[number] for number in chosen]}
        table = beside_measured(columns, np.mean(estimates, axis=0).tolist(), np.mean(measured, axis=0).tolist())
        return replace(result, checked=table)


def _means(results: Sequence[Patching], request: PatchRequest) -> Patching:
    """The means of several pairs, with the spread of the scores; `request` says what the metric of all is."""
    first, scores = results[0], np.stack([each.scores for each in results])
    spread = scores.std(axis=0, ddof=1) if len(results) > 1 else np.full(len(first.nodes), np.nan)
    return replace(
        first,
        request=request,
        clean_value=float(np.mean([each.clean_value for each in results])),
        corrupted_value=float(np.mean([each.corrupted_value for each in results])),
        values=np.mean([each.values for each in results], axis=0),
        scores=scores.mean(axis=0),
        score_std=spread,
        pairs=tuple(results),
    )
