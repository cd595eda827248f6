"""The histogram of a record: the stored one, or else that of its random examples."""

from dataclasses import dataclass

import numpy as np

from neuron_explainer.activations.records import Histogram, NeuronRecord
from neuron_explainer.wording import counted

N_BINS_OF_EXAMPLES = 30


@dataclass(frozen=True)
class ShownHistogram:
    """A histogram for display. `counted` names what its counts are of, such as "tokens in the corpus"."""

    histogram: Histogram
    counted: str


def histogram_of(record: NeuronRecord) -> ShownHistogram | None:
    """The histogram of a record, without empty bins at its ends.

    A record without a histogram gets that of its random examples; without those, None.
    """
    unit = "token pairs" if record.is_by_token_pair else "tokens"
    if record.histogram is not None:
        return ShownHistogram(_without_empty_ends(record.histogram), f"{unit} in the corpus")
    values = [value for example in record.random_sample for value in example.activations]
    if not values:
        return None
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=N_BINS_OF_EXAMPLES)
    histogram = Histogram(edges=[float(edge) for edge in edges], counts=[int(count) for count in counts])
    return ShownHistogram(histogram, f"{unit} in {counted(len(record.random_sample), 'random example')}")


def _without_empty_ends(histogram: Histogram) -> Histogram:
    """The histogram from its first to its last bin with a count above 0."""
    filled = [position for position, count in enumerate(histogram.counts) if count]
    if not filled:
        return histogram
    first, last = filled[0], filled[-1]
    return Histogram(edges=histogram.edges[first : last + 2], counts=histogram.counts[first : last + 1])
