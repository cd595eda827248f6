"""Arrays of a small packed layer, which fits `helpers.neuron_records.INFO` and `TOKENS`."""

import numpy as np
from numpy.typing import ArrayLike

from neuron_explainer.activations.packed.layout import PackedExamples, PackedLayer


def examples(sequence: ArrayLike, start: ArrayLike, length: ArrayLike, activations: ArrayLike) -> PackedExamples:
    """Examples as a packed layer has them."""
    return PackedExamples(
        np.array(sequence, np.int32),
        np.array(start, np.int32),
        np.array(length, np.int32),
        np.array(activations, np.float16),
    )


def layer_by_token() -> PackedLayer:
    """Two components; sequences "a b c d e" and "f g a"; the second component has fewer examples."""
    return PackedLayer(
        sequences=np.array([[0, 1, 2, 3, 4], [5, 6, 0, -9, 99]], np.int32),
        sequence_lengths=np.array([5, 3], np.int32),
        top=examples([[0, 1], [1, -1]], [[1, 0], [0, 0]], [[3, 3], [1, 0]], np.arange(12).reshape(2, 2, 3) / 4),
        random=examples([[1], [-1]], [[1], [7]], [[2], [9]], [[[-1, -2]], [[0, 0]]]),
        quantile=examples(
            [[[0, -1], [1, 1]], [[-1, -1], [0, 0]]],
            np.zeros((2, 2, 2)),
            np.ones((2, 2, 2)),
            np.arange(8).reshape(2, 2, 2, 1),
        ),
        quantile_boundaries=np.array([[0.5], [1.5]], np.float32),
        moments=np.array([[0.125, 1.0, -2.0, 3.5], [np.nan, 0.0, np.nan, np.nan]]),
        activation_frequency=np.array([0.25, np.nan]),
        histogram_counts=np.array([[1, 2], [3, 4]]),
        histogram_edges=np.array([[0, 1, 2], [0, 10, 20]], np.float32),
    )
