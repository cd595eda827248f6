"""From a collation to the arrays of the packed layout."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuron_explainer.activations.packed.layout import PackedExamples, PackedLayer
from neuron_explainer.collation.settings import DEFAULT_ACTIVATION_DTYPE, ActivationDtype
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.collation.statistics.examples import KeptExamples
from neuron_explainer.collation.statistics.layer_state import LayerState
from neuron_explainer.collation.statistics.sequence_table import SequenceTable
from neuron_explainer.errors import InvalidRequestError

_LARGEST_FLOAT16 = 65504.0
_SMALLEST_PEAK_FOR_FLOAT16 = 2.0**-10
"""With smaller peaks, activations would lose digits in float16's limited range."""


@dataclass(frozen=True)
class _Group:
    """Examples of one kind: the sequence, the window in it, and the activations. Leading axes: (components, …)."""

    sequence: NDArray[np.int64]
    start: NDArray[np.int32]
    length: NDArray[np.int32]
    activations: NDArray[np.float32]


def packed_layer(
    collation: Collation, layer: int, *, activation_dtype: ActivationDtype = DEFAULT_ACTIVATION_DTYPE
) -> PackedLayer:
    """One layer of the dataset.

    Args:
        collation: the collation of all sequences.
        layer: one of its layers.
        activation_dtype: dtype of the examples' activations. "auto" chooses float16 if the largest one lies between
            2^-10 and 65,504 (or is 0), else float32.

    Raises:
        InvalidRequestError: an activation does not fit `activation_dtype`.
    """
    state, settings = collation.layers[layer], collation.settings
    by_pair = collation.entry_kind is EntryKind.TOKEN_PAIRS
    top = _group(state.top.in_order(), slice(None), by_pair)
    sample = state.sample.in_order()
    random = _group(sample, slice(settings.random_k), by_pair)
    quantile, boundaries = _quantile_groups(state, sample, collation, by_pair)
    groups = [top, random] + ([] if quantile is None else [quantile])
    dtype = _activation_dtype(activation_dtype, groups)
    numbers = np.unique(np.concatenate([group.sequence.ravel() for group in groups]))
    numbers = numbers[numbers >= 0]
    sequences, lengths = _sequences(collation.sequences, numbers, settings.context_length)
    packed = [_packed(group, numbers, dtype) for group in groups]
    return PackedLayer(
        sequences=sequences,
        sequence_lengths=lengths,
        top=packed[0],
        random=packed[1],
        quantile=None if quantile is None else packed[2],
        quantile_boundaries=boundaries,
        moments=_numpy(state.moments.statistics()),
        activation_frequency=_numpy(state.active.double() / state.moments.count),
        histogram_counts=_narrowed(_numpy(state.histogram.counts), np.int32),
        histogram_edges=_numpy(state.histogram.edges().to(torch.float32)),
    )


def _group(examples: KeptExamples, slots: slice, by_pair: bool) -> _Group:
    length = _numpy(examples.length[:, slots]).astype(np.int64)
    # Examples by token pair are whole sequences: n tokens have n(n + 1)/2 activations.
    n_tokens = ((np.sqrt(8 * length + 1) - 1) / 2).round().astype(np.int64) if by_pair else length
    longest = int(length.max(initial=1))
    return _Group(
        sequence=_numpy(examples.sequence_index()[:, slots]),
        start=_numpy(examples.start[:, slots]),
        length=n_tokens.astype(np.int32),
        activations=_numpy(examples.activations[:, slots, :longest]),
    )


def _quantile_groups(
    state: LayerState, sample: KeptExamples, collation: Collation, by_pair: bool
) -> tuple[_Group | None, NDArray[np.float32] | None]:
    """The random examples after the first `random_k`, in groups of equal size by peak, and the groups' boundaries.

    Boundary i is the largest peak of group i; the last one is the largest activation of all. With too few sequences
    the groups have fewer examples.
    """
    settings = collation.settings
    n_groups, each = settings.quantiles, settings.examples_per_quantile
    if n_groups == 0:
        return None, None
    rest = _group(sample, slice(settings.random_k, None), by_pair)
    peaks = _numpy(sample.peak[:, settings.random_k :])
    n_components, n_slots = peaks.shape
    present = rest.sequence >= 0
    # Every component saw the same sequences, so all have the same number of examples.
    n_present = int(present.sum(axis=1).max(initial=0))
    order = np.argsort(np.where(present, peaks, np.inf), axis=1, kind="stable")
    borders = np.linspace(0, n_present, n_groups + 1).round().astype(int)
    slots = np.full((n_groups, each), n_slots)  # for each member of each group its rank by peak; n_slots: no member
    for number in range(n_groups):
        members = np.arange(borders[number], borders[number + 1])
        slots[number, : len(members)] = members
    taken = np.concatenate([order, np.full((n_components, 1), n_slots)], axis=1)[:, slots.ravel()]
    rows = np.arange(n_components)[:, None]

    def pick(array: NDArray[Any], absent: int) -> NDArray[Any]:
        spare = np.full((n_components, 1, *array.shape[2:]), absent, dtype=array.dtype)
        return np.concatenate([array, spare], axis=1)[rows, taken].reshape(
            n_components, n_groups, each, *array.shape[2:]
        )

    picked_peaks = pick(peaks, 0)
    absent = pick(rest.sequence, -1) < 0
    boundaries = np.where(absent, -np.inf, picked_peaks).max(axis=2)
    # A group without examples ends where the group before it ends.
    boundaries = np.maximum.accumulate(boundaries, axis=1)
    boundaries[:, -1] = _numpy(state.histogram.highest)
    lowest = _numpy(state.histogram.lowest)[:, None]
    boundaries = np.where(np.isfinite(boundaries), boundaries, lowest).astype(np.float32)
    group = _Group(
        sequence=pick(rest.sequence, -1),
        start=pick(rest.start, 0),
        length=pick(rest.length, 0),
        activations=pick(rest.activations, 0),
    )
    return group, boundaries


def _activation_dtype(asked: ActivationDtype, groups: list[_Group]) -> type[np.float16] | type[np.float32]:
    if asked != "auto":
        return np.float16 if asked == "float16" else np.float32
    largest = max((_largest(group.activations) for group in groups if group.activations.size), default=0.0)
    fits = largest == 0 or _SMALLEST_PEAK_FOR_FLOAT16 <= largest <= _LARGEST_FLOAT16
    return np.float16 if fits else np.float32


def as_activation_dtype(
    activations: NDArray[np.float32], dtype: type[np.float16] | type[np.float32]
) -> NDArray[np.float16] | NDArray[np.float32]:
    """Activations in the dtype in which they are stored.

    Raises:
        InvalidRequestError: one of them does not fit.
    """
    narrowed = _tensor(activations).to(torch.float16 if dtype is np.float16 else torch.float32)
    if narrowed.numel() and not all(bool(extreme.isfinite()) for extreme in narrowed.aminmax()):
        largest = float(np.abs(activations).max())
        wider = "Use activation_dtype='float32'." if dtype is np.float16 else "Datasets cannot hold them."
        raise InvalidRequestError(
            f"There are activations as large as {largest:.3g}, but {np.dtype(dtype).name} ends at "
            f"{np.finfo(dtype).max:.3g}. {wider}"
        )
    return narrowed.numpy()


def _packed(group: _Group, numbers: NDArray[np.int64], dtype: type[np.float16] | type[np.float32]) -> PackedExamples:
    rows = np.where(group.sequence >= 0, np.searchsorted(numbers, group.sequence), -1)
    return PackedExamples(
        sequence=_narrowed(rows.astype(np.int32)),
        start=_narrowed(group.start.astype(np.int32)),
        length=_narrowed(group.length.astype(np.int32)),
        activations=as_activation_dtype(group.activations, dtype),
    )


def _sequences(
    table: SequenceTable, numbers: NDArray[np.int64], context_length: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    tokens = np.zeros((len(numbers), context_length), dtype=np.int32)
    lengths = np.zeros(len(numbers), dtype=np.int32)
    for row, number in enumerate(numbers.tolist()):
        sequence = table[number]
        tokens[row, : len(sequence)] = sequence
        lengths[row] = len(sequence)
    return _narrowed(tokens), _narrowed(lengths)


def _narrowed(array: NDArray[Any], narrow: type[np.signedinteger[Any]] = np.int16) -> NDArray[Any]:
    """The integers in a narrower dtype, if all of them fit."""
    return array.astype(narrow) if array.max(initial=0) <= np.iinfo(narrow).max else array


def _largest(activations: NDArray[np.float32]) -> float:
    return max(abs(float(extreme)) for extreme in _tensor(activations).aminmax())


def _tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor, which is several times as fast with activations. It is copied if it is read-only."""
    return torch.from_numpy(np.require(array, requirements="W"))


def _numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().contiguous().numpy()
