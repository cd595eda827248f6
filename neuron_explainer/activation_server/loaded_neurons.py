"""The results of loading many neurons: records and errors, in order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from neuron_explainer.activations.records import NeuronId, NeuronRecord
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LoadedNeuron:
    """The result for one of many neurons: a record or an error."""

    neuron_id: NeuronId
    record: NeuronRecord | None = None
    error: Exception | None = None


class LoadedNeurons(Sequence[LoadedNeuron]):
    """The results of `load_neurons`, in the order in which the neurons were given."""

    def __init__(self, results: Iterable[LoadedNeuron]) -> None:
        self._results = list(results)

    @property
    def records(self) -> list[NeuronRecord]:
        """The records of the neurons that were loaded, in order."""
        return [result.record for result in self if result.record is not None]

    @property
    def failures(self) -> list[LoadedNeuron]:
        """The neurons that failed to load, in order, each with its error."""
        return [result for result in self if result.error is not None]

    def raise_first_failure(self) -> "LoadedNeurons":
        """Raise the first failure's error. If nothing failed, return these results."""
        for failure in self.failures:
            if failure.error is not None:
                raise failure.error
        return self

    def to_dataframe(self) -> "pd.DataFrame":
        """A table with one row per neuron: layer, neuron, statistics, max_activation, error (None if loaded)."""
        import pandas as pd

        statistics = ("mean", "variance", "skewness", "kurtosis", "activation_frequency", "max_activation")
        rows = [
            {
                "layer": result.neuron_id.layer_index,
                "neuron": result.neuron_id.neuron_index,
                **{name: getattr(result.record, name, None) for name in statistics},
                "error": None
                if result.error is None
                else without_steering(f"{type(result.error).__name__}: {result.error}"),
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
        return "\n  ".join(lines + ([f"… and {len(failed) - 10} more"] if len(failed) > 10 else []))
