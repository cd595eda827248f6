"""From records read as JSON to the arrays of the packed layout."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.attention_utils import attended_window
from neuron_explainer.activations.packed.layout import DatasetInfo, PackedExamples, PackedLayer
from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.collation.output.packing import as_activation_dtype
from neuron_explainer.collation.settings import ConvertedDtype
from neuron_explainer.errors import MalformedRecordError


@dataclass
class Survey:
    """What the packed layout needs to know about all records beforehand.

    Attributes:
        vocabulary: the id of every token that occurs.
        longest: how many tokens the longest example has.
        by_pair: whether there is one activation for each token pair.
        attended_window: how many tokens are attended to, the first ones; None: all.
    """

    vocabulary: dict[str, int] = field(default_factory=dict)
    longest: int = 1
    by_pair: bool = False
    attended_window: int | None = None

    def add(self, record: NeuronRecord) -> None:
        """Include a record.

        Raises:
            MalformedRecordError: its attended window differs from that of earlier records.
        """
        for example in _all_examples(record):
            n_tokens = len(example.tokens)
            self.longest = max(self.longest, n_tokens)
            for token in example.tokens:
                self.vocabulary.setdefault(token, len(self.vocabulary))
            if example.is_by_token_pair:
                self.by_pair = True
                window = attended_window(n_tokens, len(example.activations))
                if window < n_tokens:
                    if self.attended_window not in (None, window):
                        raise MalformedRecordError(
                            f"the attention window of {record.neuron_id} is {window}, that of earlier records "
                            f"{self.attended_window}; a packed dataset has one window for all"
                        )
                    self.attended_window = window


def _all_examples(record: NeuronRecord) -> Iterator[ActivationRecord]:
    yield from record.most_positive_activation_records
    yield from record.random_sample
    for bucket in record.random_sample_by_quantile or []:
        yield from bucket


@dataclass
class Packer:
    """Packs the records of one layer. Equal token windows are stored once."""

    info: DatasetInfo
    vocabulary: dict[str, int]
    activation_dtype: ConvertedDtype
    sequences: dict[tuple[int, ...], int] = field(default_factory=dict)

    def pack(self, records: list[NeuronRecord]) -> PackedLayer:
        """The layer's arrays.

        Raises:
            MalformedRecordError: the records differ in quantiles, histogram sizes or activations per token.
            InvalidRequestError: an activation does not fit `activation_dtype`.
        """
        top = self._examples([[record.most_positive_activation_records] for record in records])
        random = self._examples([[record.random_sample] for record in records])
        has_quantiles = any(record.random_sample_by_quantile for record in records)
        has_histogram = all(record.histogram is not None for record in records)
        quantile = self._examples([record.random_sample_by_quantile or [] for record in records])
        sequences = np.zeros((len(self.sequences), self.info.context_length), dtype=np.int32)
        for tokens, row in self.sequences.items():
            sequences[row, : len(tokens)] = tokens
        return PackedLayer(
            sequences=sequences,
            sequence_lengths=np.array([len(tokens) for tokens in self.sequences], dtype=np.int32),
            top=_without_buckets(top),
            random=_without_buckets(random),
            quantile=quantile if has_quantiles else None,
            quantile_boundaries=self._boundaries(records) if has_quantiles else None,
            moments=np.array(
                [
                    [_number(value) for value in (record.mean, record.variance, record.skewness, record.kurtosis)]
                    for record in records
                ],
                dtype=np.float64,
            ),
            activation_frequency=np.array([_number(record.activation_frequency) for record in records]),
            histogram_counts=_stacked([record.histogram.counts for record in records if record.histogram], np.int64)
            if has_histogram
            else None,
            histogram_edges=_stacked([record.histogram.edges for record in records if record.histogram], np.float32)
            if has_histogram
            else None,
        )

    def _boundaries(self, records: list[NeuronRecord]) -> NDArray[np.float32]:
        lengths = {len(record.quantile_boundaries or []) for record in records}
        if len(lengths) > 1:
            raise MalformedRecordError(
                f"the components of a layer have different numbers of quantile boundaries: {sorted(lengths)}"
            )
        return np.array([record.quantile_boundaries or [] for record in records], dtype=np.float32)

    def _examples(self, buckets_by_record: list[list[list[ActivationRecord]]]) -> PackedExamples:
        n_buckets = max((len(buckets) for buckets in buckets_by_record), default=0)
        sizes = [len(bucket) for buckets in buckets_by_record for bucket in buckets]
        widths = [len(one.activations) for buckets in buckets_by_record for bucket in buckets for one in bucket]
        shape = (len(buckets_by_record), n_buckets, max(sizes, default=0))
        sequence = np.full(shape, -1, dtype=np.int32)
        length = np.zeros(shape, dtype=np.int32)
        dtype = np.float16 if self.activation_dtype == "float16" else np.float32
        activations = np.zeros((*shape, max(widths, default=1)), dtype=np.float32)
        for component, buckets in enumerate(buckets_by_record):
            for number, bucket in enumerate(buckets):
                for slot, example in enumerate(bucket):
                    where = (component, number, slot)
                    tokens = tuple(self.vocabulary[token] for token in example.tokens)
                    sequence[where] = self.sequences.setdefault(tokens, len(self.sequences))
                    length[where] = len(tokens)
                    if len(example.activations) != self.info.n_activations(len(tokens)):
                        raise MalformedRecordError(
                            f"component {component} has an example of {len(tokens)} tokens with "
                            f"{len(example.activations)} activations; it should have "
                            f"{self.info.n_activations(len(tokens))}"
                        )
                    with np.errstate(over="ignore"):  # what does not fit is refused below
                        activations[where][: len(example.activations)] = example.activations
        return PackedExamples(sequence, np.zeros_like(sequence), length, as_activation_dtype(activations, dtype))


def _without_buckets(examples: PackedExamples) -> PackedExamples:
    return PackedExamples(
        examples.sequence[:, 0], examples.start[:, 0], examples.length[:, 0], examples.activations[:, 0]
    )


def _stacked(rows: list[list[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    if len({len(row) for row in rows}) > 1:
        raise MalformedRecordError("the components of a layer have histograms with different numbers of bins")
    return np.array(rows, dtype=dtype)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
