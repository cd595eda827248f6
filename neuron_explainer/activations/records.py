"""A neuron record: the stored examples and statistics of one neuron, attention head or latent."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from neuron_explainer.activations.activation_records import ActivationRecord, Histogram
from neuron_explainer.activations.neuron_ids import NeuronId
from neuron_explainer.activations.splits import ActivationRecordSliceParams, split_of
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ActivationRecord",
    "ActivationRecordSliceParams",
    "ExampleKind",
    "Histogram",
    "NeuronId",
    "NeuronRecord",
]

ExampleKind = Literal["top", "random", "quantile"]


@dataclass(frozen=True, repr=False)
class NeuronRecord:
    """The stored examples and statistics of one neuron, attention head or latent.

    Displayed in a notebook as a page: statistics, histogram, top activations, quantiles and random examples.

    Attributes:
        neuron_id: the layer and the index of the component.
        random_sample: examples drawn at random from the corpus.
        random_sample_by_quantile: examples drawn from each bucket of the component's activation, one list per bucket,
            the lowest bucket first; None if unknown.
        quantile_boundaries: the activations that divide the buckets, ascending; None if unknown.
        mean, variance, skewness, kurtosis: of the activation over the corpus; None if unknown. The kurtosis of a normal
            distribution is 3.
        most_positive_activation_records: the examples with the highest activations, the highest first.
        activation_frequency: the share (0 to 1) of the corpus's tokens or token pairs on which the activation is above
            0; None if unknown.
        histogram: counts of the activation over the corpus; None if unknown.
        source: the file or address that the record was read from; None for one made in memory. Records that differ in
            it or in `dst` alone are equal.
        dst: the derived scalar type of the activations, which says what the component is: a neuron, a head, a latent;
            None if unknown.

    Raises:
        MalformedRecordError: some examples hold one activation per token and others one per token pair, or a quantile
            boundary is not finite.

    >>> import neuron_explainer as ne
    >>> record = ne.load_neuron("tiny", 2, 5)
    >>> record.most_positive_activation_records[0].max_activation == record.max_activation
    True
    """

    neuron_id: NeuronId
    random_sample: list[ActivationRecord] = field(default_factory=list)
    random_sample_by_quantile: list[list[ActivationRecord]] | None = None
    quantile_boundaries: list[float] | None = None
    mean: float | None = None
    variance: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    most_positive_activation_records: list[ActivationRecord] = field(default_factory=list)
    activation_frequency: float | None = None
    histogram: Histogram | None = None
    source: str | None = field(default=None, compare=False)
    dst: DerivedScalarType | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        by_pair = self.is_by_token_pair
        for kind, _, position, example in self.examples():
            # One token makes one pair, so an example of one token may be either.
            if by_pair and not example.is_by_token_pair and len(example.tokens) > 1:
                raise MalformedRecordError(
                    f"{kind} example {position} has one activation per token, but others have one per token pair"
                )
        for boundary in self.quantile_boundaries or ():
            if not math.isfinite(boundary):
                raise MalformedRecordError(f"quantile boundary {boundary} is not finite")

    @property
    def is_by_token_pair(self) -> bool:
        """Whether there is one activation per token pair (attention heads, token-pair latents), not one per token."""
        return any(example.is_by_token_pair for _, _, _, example in self.examples())

    @property
    def max_activation(self) -> float | None:
        """The largest activation of the top examples; None without top examples."""
        tops = (example.max_activation for example in self.most_positive_activation_records)
        return max((top for top in tops if top is not None), default=None)

    def examples(self) -> Iterator[tuple[ExampleKind, int | None, int, ActivationRecord]]:
        """All examples, each as (kind, bucket, position, example).

        The kind is "top", "random" or "quantile". The bucket of a quantile example counts from 0; for other kinds it is
        None. The position counts from 0 within kind and bucket.
        """
        for position, example in enumerate(self.most_positive_activation_records):
            yield "top", None, position, example
        for position, example in enumerate(self.random_sample):
            yield "random", None, position, example
        for bucket, examples in enumerate(self.random_sample_by_quantile or ()):
            for position, example in enumerate(examples):
                yield "quantile", bucket, position, example

    def train_activation_records(
        self,
        params: ActivationRecordSliceParams | None = None,
        *,
        activation_record_slice_params: ActivationRecordSliceParams | None = None,
    ) -> list[ActivationRecord]:
        """The examples to write an explanation from: every fourth top example.

        Args:
            params: how large the splits are; None: as large as possible.
            activation_record_slice_params: an older name of `params`.

        Raises:
            InvalidRequestError: there are too few examples for the split size that `params` asks for.

        >>> import neuron_explainer as ne
        >>> record = ne.load_neuron("tiny", 2, 5)
        >>> len(record.train_activation_records(ActivationRecordSliceParams(n_examples_per_split=5)))
        5
        """
        return self._split("train", params, activation_record_slice_params)

    def calibration_activation_records(
        self,
        params: ActivationRecordSliceParams | None = None,
        *,
        activation_record_slice_params: ActivationRecordSliceParams | None = None,
    ) -> list[ActivationRecord]:
        """The examples to calibrate a simulation with: every fourth top example and every third random one.

        Raises:
            InvalidRequestError: as `train_activation_records`.
        """
        return self._split("calibration", params, activation_record_slice_params)

    def valid_activation_records(
        self,
        params: ActivationRecordSliceParams | None = None,
        *,
        activation_record_slice_params: ActivationRecordSliceParams | None = None,
    ) -> list[ActivationRecord]:
        """The examples to choose an explanation with: every fourth top example and every third random one.

        Raises:
            InvalidRequestError: as `train_activation_records`.
        """
        return self._split("valid", params, activation_record_slice_params)

    def test_activation_records(
        self,
        params: ActivationRecordSliceParams | None = None,
        *,
        activation_record_slice_params: ActivationRecordSliceParams | None = None,
    ) -> list[ActivationRecord]:
        """The examples to score an explanation with: every fourth top example and every third random one.

        Raises:
            InvalidRequestError: as `train_activation_records`.
        """
        return self._split("test", params, activation_record_slice_params)

    def _split(
        self, split: str, params: ActivationRecordSliceParams | None, by_older_name: ActivationRecordSliceParams | None
    ) -> list[ActivationRecord]:
        if params is not None and by_older_name is not None:
            raise InvalidRequestError("activation_record_slice_params is the older name of params. Give one of them.")
        params = params if by_older_name is None else by_older_name
        return split_of(self.most_positive_activation_records, self.random_sample, split, params)

    def to_dict(self) -> dict[str, Any]:
        """The contents of the record's JSON file, with the field names of the public datasets.

        `activation_frequency` and `histogram`, which the public datasets lack, are added if the record has them.

        >>> import neuron_explainer as ne
        >>> ne.load_neuron("tiny", 2, 5).to_dict()["neuron_id"]["neuron_index"]
        5
        """
        by_quantile = self.random_sample_by_quantile
        fields: dict[str, Any] = {
            "neuron_id": {
                "neuron_index": self.neuron_id.neuron_index,
                "layer_index": self.neuron_id.layer_index,
                "dataclass_name": "NeuronId",
            },
            "random_sample": _examples(self.random_sample),
            "random_sample_by_quantile": None if by_quantile is None else [_examples(bucket) for bucket in by_quantile],
            "quantile_boundaries": self.quantile_boundaries,
            "mean": self.mean,
            "variance": self.variance,
            "skewness": self.skewness,
            "kurtosis": self.kurtosis,
            "most_positive_activation_records": _examples(self.most_positive_activation_records),
        }
        if self.activation_frequency is not None:
            fields["activation_frequency"] = self.activation_frequency
        if self.histogram is not None:
            fields["histogram"] = {"edges": self.histogram.edges, "counts": self.histogram.counts}
        return fields | {"dataclass_name": "NeuronRecord"}

    def to_dataframe(self) -> "pd.DataFrame":
        """A table with one row per token of every example, or one row per token pair if the activations are of pairs.

        Columns:
            layer, neuron: the indices of the component.
            kind: "top", "random" or "quantile".
            bucket: the quantile's number, from 0; missing for other kinds.
            example: the example's number within its kind and bucket, from 0.
            position, token: the token, control and direction characters as escapes; for a pair, the token that attends.
            attended_position, attended_token: for a pair only, the token that is attended to.
            activation: the component's activation.

        `frame.attrs` holds `source` (the file or address of the record), `layer`, `neuron` and `by_token_pair`.

        >>> import neuron_explainer as ne
        >>> frame = ne.load_neuron("tiny", 2, 5).to_dataframe()
        >>> frame.columns.tolist()
        ['layer', 'neuron', 'kind', 'bucket', 'example', 'position', 'token', 'activation']
        """
        from neuron_explainer.activations.record_tables import examples_to_dataframe

        layer, neuron, by_pair = self.neuron_id.layer_index, self.neuron_id.neuron_index, self.is_by_token_pair
        frame = examples_to_dataframe(self.examples(), by_pair)
        frame.insert(0, "layer", layer)
        frame.insert(1, "neuron", neuron)
        frame.attrs = {"source": self.source, "layer": layer, "neuron": neuron, "by_token_pair": by_pair}
        return frame

    def __repr__(self) -> str:
        buckets = self.random_sample_by_quantile or []
        counts = [
            f"{len(self.most_positive_activation_records)} top",
            f"{len(self.random_sample)} random",
            *([f"{sum(map(len, buckets))} quantile"] if buckets else []),
        ]
        by = "token pair" if self.is_by_token_pair else "token"
        highest = "" if self.max_activation is None else f", max {self.max_activation:.4g}"
        return f"<NeuronRecord {self.neuron_id}: {', '.join(counts)} examples by {by}{highest}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.record_page import record_to_html

        return record_to_html(self)


def _examples(examples: list[ActivationRecord]) -> list[dict[str, Any]]:
    return [
        {"activations": example.activations, "tokens": example.tokens, "dataclass_name": "ActivationRecord"}
        for example in examples
    ]
