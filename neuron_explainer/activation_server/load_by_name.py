"""Loading for notebooks: by name, without `await`, one neuron or many at once.

Nothing here uses an event loop, so a cell may call it whether one runs or not, and no queued cell is lost. What only
many at once need (pydantic, threads) is imported there: looking at one record should not wait for it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, overload

from neuron_explainer.activation_server.dataset_paths import explanations_path, resolve_neuron_dataset
from neuron_explainer.activations import activations
from neuron_explainer.activations.activations import NeuronId, NeuronRecord
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:
    import pandas as pd

    from neuron_explainer.activation_server.load_neurons import NodeIdAndDatasets
    from neuron_explainer.activations.explanation_files import NeuronSimulationResults

DatasetName = str | os.PathLike[str]
"""A registered short name, an http(s) address or a local folder."""

NeuronName: TypeAlias = "NeuronId | tuple[int, int] | NodeIdAndDatasets"
"""A neuron by its id, by (layer, index), or with the datasets to look for it in."""

_MOST_AT_ONCE = 32


def load_neuron(
    dataset: DatasetName,
    layer: int,
    neuron: int,
    dst: DerivedScalarType | str = DerivedScalarType.MLP_POST_ACT,
    *,
    use_cache: bool = True,
    revalidate: bool = False,
) -> NeuronRecord:
    """The record of one neuron, attention head or latent.

    Args:
        dataset: a short name, such as "gpt2-small" or "tiny" (`ne.datasets()` lists them), an address or a folder.
        layer: from 0.
        neuron: the neuron, head or latent in the layer, from 0.
        dst: which of the datasets of this short name; an address or a folder needs none.
        use_cache: whether the disk cache is used for an address.
        revalidate: ask the server whether what is cached is still the present version.

    Raises:
        UnknownDatasetError: there is no dataset of this name.
        NeuronNotFoundError: the dataset has no such neuron.
        MalformedRecordError: what is there is no record.
        DownloadError: the dataset could not be reached.
    """
    path = resolve_neuron_dataset(dataset, derived_scalar_type_of(dst))
    return activations.load_neuron(path, layer, neuron, use_cache=use_cache, revalidate=revalidate)


def load_explanations(
    dataset: DatasetName,
    layer: int,
    neuron: int,
    dst: DerivedScalarType | str = DerivedScalarType.MLP_POST_ACT,
    *,
    use_cache: bool = True,
) -> "NeuronSimulationResults":
    """The explanations of one neuron, with their scores.

    Args:
        dataset: a short name whose explanations are known, or an address or folder of explanations.
        layer: from 0.
        neuron: from 0.
        dst: which of the datasets of this short name.
        use_cache: whether the disk cache is used for an address.

    Raises:
        UnknownDatasetError: there is no dataset of this name.
        InvalidRequestError: the dataset has no explanations that are known.
        NeuronNotFoundError: there are none of this neuron.
        MalformedRecordError: what is there are no explanations.
        DownloadError: they could not be reached.
    """
    from neuron_explainer.activations.explanation_files import load_explanations as load_explanations_at

    path = explanations_path(dataset, derived_scalar_type_of(dst))
    return load_explanations_at(path, layer, neuron, use_cache=use_cache)


@dataclass(frozen=True)
class LoadedNeuron:
    """What became of one of many neurons that were asked for: a record, or the error that there was in its place."""

    neuron_id: NeuronId
    record: NeuronRecord | None = None
    error: Exception | None = None


class LoadedNeurons(Sequence[LoadedNeuron]):
    """What became of many neurons, in the order in which they were asked for."""

    def __init__(self, results: Iterable[LoadedNeuron]) -> None:
        self._results = list(results)

    @property
    def records(self) -> list[NeuronRecord]:
        """The records of those that were loaded, in order."""
        return [result.record for result in self if result.record is not None]

    @property
    def failures(self) -> list[LoadedNeuron]:
        """Those that were not loaded, in order, each with its error."""
        return [result for result in self if result.error is not None]

    def raise_first_failure(self) -> "LoadedNeurons":
        """Raise the first failure's error; without one, give these results back."""
        for failure in self.failures:
            if failure.error is not None:
                raise failure.error
        return self

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a neuron: layer, neuron, its statistics, max_activation, and the error's text where there is one."""
        import pandas as pd

        statistics = ("mean", "variance", "skewness", "kurtosis", "activation_frequency", "max_activation")
        rows = [
            {
                "layer": result.neuron_id.layer_index,
                "neuron": result.neuron_id.neuron_index,
                **{name: getattr(result.record, name, None) for name in statistics},
                "error": None if result.error is None else f"{type(result.error).__name__}: {result.error}",
            }
            for result in self
        ]
        return pd.DataFrame(rows, columns=["layer", "neuron", *statistics, "error"])

    @overload
    def __getitem__(self, index: int) -> LoadedNeuron: ...

    @overload
    def __getitem__(self, index: slice) -> "LoadedNeurons": ...

    def __getitem__(self, index: int | slice) -> "LoadedNeuron | LoadedNeurons":
        return LoadedNeurons(self._results[index]) if isinstance(index, slice) else self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[LoadedNeuron]:
        return iter(self._results)

    def __repr__(self) -> str:
        failed = [f"{failure.neuron_id}: {failure.error}" for failure in self.failures]
        lines = [f"<LoadedNeurons: {len(self) - len(failed)} of {len(self)} loaded>", *failed[:10]]
        return "\n  ".join(lines + ([f"… and {len(failed) - 10} more failures"] if len(failed) > 10 else []))


def load_neurons(
    neurons: Iterable[NeuronName],
    dataset: DatasetName | None = None,
    dst: DerivedScalarType | str = DerivedScalarType.MLP_POST_ACT,
    *,
    progress: bool = True,
) -> LoadedNeurons:
    """Load many neurons at once.

    Args:
        neurons: each a NeuronId, a pair (layer, index), or a NodeIdAndDatasets.
        dataset: where all are from that do not name their datasets themselves.
        dst: which of the datasets of this short name.
        progress: whether a progress bar is shown.

    Returns:
        One result a neuron, in their order: its record, or the error there was. A failure stops no other neuron.

    Raises:
        UnknownDatasetError: there is no dataset of this name.
        InvalidRequestError: a neuron names no dataset, and none is given for all; or it is none of the three.
    """
    asked = [_with_datasets(neuron, dataset, derived_scalar_type_of(dst)) for neuron in neurons]
    for name, scalar_type in {(name, each.dst) for each in asked for name in each.datasets}:
        resolve_neuron_dataset(name, scalar_type)  # a wrong name is wrong for all: say so at once
    if not asked:
        return LoadedNeurons([])
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_MOST_AT_ONCE, len(asked)), thread_name_prefix="load_neurons") as pool:
        results = pool.map(_loaded, asked)
        try:
            return LoadedNeurons(_with_progress_bar(results, len(asked)) if progress else results)
        except BaseException:  # the user has stopped the cell: what has not begun shall not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _with_progress_bar(results: Iterable[LoadedNeuron], total: int) -> Iterable[LoadedNeuron]:
    from tqdm.auto import tqdm

    return tqdm(results, total=total, desc="Loading neurons", unit="neuron")


def _with_datasets(neuron: NeuronName, dataset: DatasetName | None, dst: DerivedScalarType) -> "NodeIdAndDatasets":
    from neuron_explainer.activation_server.load_neurons import NodeIdAndDatasets

    if isinstance(neuron, NodeIdAndDatasets):
        return neuron
    if dataset is None:
        raise InvalidRequestError(
            f"Neuron {neuron} names no dataset: give load_neurons a `dataset`, or the neuron as NodeIdAndDatasets."
        )
    if not isinstance(neuron, NeuronId):
        try:
            layer, index = neuron
            neuron = NeuronId(layer, index)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"{neuron!r} is neither a NeuronId nor a pair (layer, index): {error}") from None
    return NodeIdAndDatasets(
        dst=dst,
        layer_index=neuron.layer_index,
        activation_index=neuron.neuron_index,
        datasets=[os.fspath(dataset)],
    )


def _loaded(asked: "NodeIdAndDatasets") -> LoadedNeuron:
    from neuron_explainer.activation_server.load_neurons import load_neuron_from_first_dataset

    neuron_id = NeuronId(asked.layer_index, asked.activation_index)
    try:
        return LoadedNeuron(neuron_id, record=load_neuron_from_first_dataset(asked)[1])
    except (NeuronExplainerError, OSError) as error:
        return LoadedNeuron(neuron_id, error=error)
