"""Which components of a dataset's layer are ever active, so that the others can be passed over."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.activations.packed.layer_file import PackedLayerReader
from neuron_explainer.components.statistics.packed_layers import sizes_of_examples
from neuron_explainer.storage.locations import is_url

_AT_ONCE = 4096  # components, so that flags take some megabytes
_HELD: WeakKeyDictionary[PackedLayerReader, NDArray[np.int64]] = WeakKeyDictionary()


def living_components(path: str, layer: int) -> NDArray[np.int64] | None:
    """The components of a layer that are above 0 somewhere, ascending; None if the dataset does not say it at once.

    A component is left out if its share of tokens above 0 is 0, or where that is unknown, if none of its top examples
    is above 0. One without examples stays. Only packed datasets say it at once: a layer is read once, and the answer is
    held until the layer's file is replaced.

    Args:
        path: the address or folder of the dataset.
        layer: the layer.

    Raises:
        NeuronNotFoundError: the dataset does not cover the layer.
        MissingFileError, MalformedDatasetError: the packed dataset cannot be read.

    >>> from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
    >>> len(living_components(resolve_neuron_dataset("tiny", "mlp_post_act"), 2))
    512
    """
    if is_url(path) or not is_packed_dataset(path):
        return None
    reader = open_packed_dataset(path).layer_reader(layer)
    held = _HELD.get(reader)
    if held is None:
        held = _HELD[reader] = np.flatnonzero(_is_living(reader))
        held.flags.writeable = False  # it is shared
    return held


def _is_living(reader: PackedLayerReader) -> NDArray[np.bool_]:
    n_components = len(reader.arrays["top_sequence"])
    given = reader.arrays.get("activation_frequency")
    frequency = np.full(n_components, np.nan) if given is None else np.asarray(given, dtype=np.float64)
    living = frequency > 0
    unknown = np.flatnonzero(np.isnan(frequency))
    for start in range(0, len(unknown), _AT_ONCE):
        some = unknown[start : start + _AT_ONCE]
        # The highest peak is in the first example, as a rule. Where it is not above 0, the others are looked at, too.
        is_above, has_examples = _top_above_zero(reader, some, slice(0, 1))
        rest = some[~is_above]
        living[some] = is_above
        if len(rest):
            is_above, has_examples = _top_above_zero(reader, rest, slice(None))
            living[rest] = is_above | ~has_examples
    return living


def _top_above_zero(
    reader: PackedLayerReader, components: NDArray[np.int64], slots: slice
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a top example of each component is above 0 somewhere, and whether it has a top example."""
    sequence, length, activations = (_rows(reader, name, components, slots) for name in _ARRAYS)
    sizes = np.where(sequence != -1, sizes_of_examples(reader, length), 0)
    inside = np.arange(activations.shape[-1]) < sizes[..., None]
    is_above: NDArray[np.bool_] = np.any(above_zero(activations) & inside, axis=(1, 2))
    return is_above, (sequence != -1).any(axis=1)


_ARRAYS = ("top_sequence", "top_length", "top_activations")


def _rows(reader: PackedLayerReader, name: str, components: NDArray[np.int64], slots: slice) -> NDArray[Any]:
    array = reader.arrays[name]
    is_run = len(components) == components[-1] - components[0] + 1  # a slice of a file needs no copy
    return np.asarray(array[components[0] : components[-1] + 1, slots] if is_run else array[components, slots])


def above_zero(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where values are above 0; not where they are not numbers."""
    if values.dtype != np.float16:
        return values > 0
    # Processors do not compare these. As whole numbers, those from 1 to infinity's are above 0; above are NaNs.
    bits = values.view(np.uint16)
    return (bits - np.uint16(1)) < np.uint16(0x7C00)
