"""`ne.explain_dataset`: the components of a dataset, each explained and scored."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from neuron_explainer.activation_server.dataset_paths import type_of_dataset
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.components.asking import component, is_dataset
from neuron_explainer.components.component import Component
from neuron_explainer.components.covered import (
    NodesGiven,
    components_asked,
    components_of_layers,
    first_name,
    name_beside,
    nodes_by_layer,
)
from neuron_explainer.components.digests import digest_of_dataset, digest_of_model
from neuron_explainer.components.explanations.explained_dataset import ExplainedDataset
from neuron_explainer.components.notes.csv_files import csv_bytes
from neuron_explainer.errors import (
    CollateStopped,
    ExplainingStoppedError,
    InvalidRequestError,
    NeuronExplainerError,
    shown,
)
from neuron_explainer.explanations.asking.explain import explainer_given
from neuron_explainer.explanations.asking.interfaces import Explainer, Scorer
from neuron_explainer.explanations.many.described import settings_as_json
from neuron_explainer.explanations.many.journal import OutcomeJournal
from neuron_explainer.explanations.many.one_component import Explained, Explaining, is_fatal
from neuron_explainer.explanations.many.out_folder import EXPLANATIONS, OUTCOMES, TABLE, held_out_folder
from neuron_explainer.explanations.many.outcome import table_of_outcomes
from neuron_explainer.explanations.many.threads import results_of_threads
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.disk_full import raise_if_disk_full
from neuron_explainer.storage.locations import local_path
from neuron_explainer.vocabulary.checks import LayersGiven, checked_flag, checked_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
    from neuron_explainer.attribution.question.settings import AutoencodersGiven

_MOST_THREADS = 256


def explain_dataset(
    dataset: str | os.PathLike[str],
    nodes: NodesGiven = None,
    explainer: Explainer | None = None,
    scorers: Scorer | Iterable[Scorer] = (),
    out: str | os.PathLike[str] | None = None,
    *,
    layers: LayersGiven = None,
    n: SupportsIndex = 1,
    dst: DerivedScalarType | str | None = None,
    model: ConfigOrModel | str | os.PathLike[str] | None = None,
    autoencoders: AutoencodersGiven = None,
    baselines: bool = True,
    max_concurrent: SupportsIndex = 4,
    progress: bool | None = None,
) -> ExplainedDataset:
    """Explain many components of a dataset, and score the explanations.

    The folder `out` gets a line for each component as it is done (`explained.jsonl`), a table (`explanations.csv`) and
    OpenAI's files (`explanations/{layer}/{index}.jsonl`), which `ne.load_explanations`, `ne.component(…,
    explanations=…)` and `ne.NeuronViewer(…, explanations=…)` read. A call that was stopped, or whose process was
    killed, goes on when it is made again; components that are done are not explained again, and what was explained in
    any order gives the same files. Calls with other nodes add to them. The work is done in threads of its own, in
    which interventions of the caller's take no part.

    Args:
        dataset: the name, address or folder of a neuron dataset.
        nodes: the components, by name ("L5N131") or index; None: all. A dataset at an address needs them.
        explainer: what writes explanations; None: a PatternExplainer, which needs no language model.
        scorers: what scores each explanation; each has its own name.
        out: the folder of the results: a new or empty one, or one of an earlier call with the same settings.
        layers: the layers; None: all.
        n: how many explanations of each component, at most.
        dst: the derived scalar that is the components' activation; None: the dataset's.
        model: the model, for explainers that look at output tokens; "tiny" has its own.
        autoencoders: of latents, as `ne.load_autoencoders` gives them.
        baselines: whether each scorer also scores the most frequent token, and the explanation of the next component of
            the layer by the same explainer; see `ne.score`. It then asks three times as much, and the explainer up to
            twice as much.
        max_concurrent: how many components are worked on at once, at most 256; more hide the time that an endpoint
            takes to answer.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        The folder, how many components are done, and what failed; its DataFrame is the table. An error of one
        component is in the table, in place of its explanation; it is tried again by the next call.

    Raises:
        ExplainingStoppedError: an error that all components would meet, such as an endpoint that does not answer, or a
            budget that is used up (its cause). What was done is kept.
        DatasetExistsError: the folder has explanations with other settings, files of others, or another call works
            there.
        InvalidRequestError: an argument is out of range, two scorers have the same name, or the dataset has no such
            component.
        CollateStopped: it was interrupted, as by Ctrl-C. What was done is kept.
        OutOfSpaceError: the disk is full.
        UnknownDatasetError, NodeNameError, MisconfiguredError: as `ne.component`.

    An example: `ne.explain_dataset("tiny", ["L1N355", "L2N5"], out="explained").to_dataframe()`.
    """
    writes, judges = explainer_given(explainer), _scorers_given(scorers)
    most, n_threads = checked_number("n", n), checked_number("max_concurrent", max_concurrent, at_most=_MOST_THREADS)
    with_baselines = checked_flag("baselines", baselines)
    if out is None:
        raise InvalidRequestError('out is None. Give the folder of the results, such as out="explained".')
    folder = local_path("out", out)
    if not is_dataset(dataset):
        raise InvalidRequestError(
            f"{shown(dataset)} is not a neuron dataset, whose records are explained. ne.datasets() lists the known "
            "ones; a folder of your own will do, too."
        )
    scalar_type = type_of_dataset(dataset, dst)
    asked = nodes_by_layer(nodes, scalar_type)
    first = component(dataset, first_name(scalar_type, asked), dst=scalar_type, model=model, autoencoders=autoencoders)
    chosen = components_asked(first, layers, asked)
    settings = {
        "dataset": first.subject,
        "dataset_digest": digest_of_dataset(first, {}),
        "derived_scalar": scalar_type.value,
        "model_digest": digest_of_model(first),
        "explainer": settings_as_json(writes),
        "scorers": {each.name: settings_as_json(each) for each in judges},
        "n": most,
        "baselines": with_baselines,
    }
    beside = _Beside(first, tuple(chosen))
    explaining = Explaining(beside.component_at, beside.next_to, writes, judges, most, with_baselines)
    work = _Work(folder, first, explaining, n_threads)
    with held_out_folder(folder, settings):
        return work.run([(layer, index) for layer, several in chosen.items() for index in several], progress)


def _scorers_given(scorers: Any) -> list[Scorer]:
    several = [scorers] if isinstance(scorers, Scorer) and not isinstance(scorers, type) else scorers
    if isinstance(several, str) or not isinstance(several, Iterable):
        raise InvalidRequestError(f"scorers is {shown(scorers)}. Give a list, such as [PatternScorer()].")
    found: dict[str, Scorer] = {}
    for each in several:
        if not isinstance(each, Scorer) or isinstance(each, type):
            raise InvalidRequestError(f"{shown(each)} of scorers is not one. Give some, such as [PatternScorer()].")
        if each.name in found:
            raise InvalidRequestError(
                f"Two scorers are called {shown(each.name)}, as their columns would be. Give one."
            )
        found[each.name] = each
    return list(found.values())


@dataclass(frozen=True)
class _Beside:
    """The components of the same dataset.

    Attributes:
        first: one of them.
        layers: the layers that are worked on.
    """

    first: Component
    layers: tuple[int, ...]

    @cached_property
    def covered(self) -> Mapping[int, Sequence[int]] | None:
        """The numbers of those that there are, by layer; None if that is not known. It is asked for baselines alone."""
        return components_of_layers(self.first, list(self.layers))

    def component_at(self, layer: int, index: int) -> Component:
        """A component by its layer and number."""
        return Component(name_beside(self.first, layer, index), self.first.dst, self.first.at_hand)

    def next_to(self, layer: int, index: int) -> int | None:
        """The number after it in its layer; after the last comes the first. None if there is no other."""
        if self.covered is None:
            return index + 1
        several = self.covered[layer]
        other = several[bisect_right(several, index) % len(several)]
        return None if other == index else other


@dataclass(frozen=True)
class _Work:
    """The work of one call."""

    folder: Path
    first: Component
    explaining: Explaining
    n_threads: int

    def run(self, places: list[tuple[int, int]], progress: bool | None) -> ExplainedDataset:
        """Explain what is missing, and write the tables."""
        journal = OutcomeJournal(self.folder / OUTCOMES)
        journal.repair()
        missing = [place for place in places if not journal.is_finished(*place, self.folder / EXPLANATIONS)]
        with passes_bar(len(places), progress, "explaining", "component") as advance:
            advance(len(places) - len(missing))
            n_new = 0
            try:
                with closing(results_of_threads(missing, self._explained, self.n_threads)) as results:
                    for each in results:
                        self._write(each, journal)
                        n_new += 1
                        advance(1)
            except NeuronExplainerError as error:
                if not is_fatal(error):
                    raise
                n_done = len(places) - len(missing) + n_new
                raise ExplainingStoppedError(str(self.folder), n_done, len(places), error) from error
            except KeyboardInterrupt:
                raise CollateStopped(str(self.folder) if n_new or len(missing) < len(places) else None) from None
        journal.finish()
        self._write_table(journal)
        names = [str(name_beside(self.first, *place)) for place in places]
        failed = [each.component for each in journal.outcomes(places) if each.errors]
        return ExplainedDataset(self.folder, tuple(names), n_new, tuple(failed))

    def _explained(self, place: tuple[int, int]) -> Explained:
        return self.explaining.of(str(name_beside(self.first, *place)), *place)

    def _write(self, explained: Explained, journal: OutcomeJournal) -> None:
        """Write a component's file, and then the line that says that it is there."""
        outcome = explained.outcome
        path = self.folder / EXPLANATIONS / str(outcome.layer) / f"{outcome.index}.jsonl"
        if explained.file:
            with raise_if_disk_full(self.folder):
                write_bytes_atomically(path, explained.file, durable=False)
        else:  # one of an earlier call, before an error, would be read as if it were this one's
            path.unlink(missing_ok=True)
        journal.add(outcome)

    def _write_table(self, journal: OutcomeJournal) -> None:
        table = table_of_outcomes(journal.outcomes())
        rows = table.astype(object).where(table.notna(), "").itertuples(index=False, name=None)
        with raise_if_disk_full(self.folder):
            write_bytes_atomically(self.folder / TABLE, csv_bytes([str(name) for name in table.columns], rows))
