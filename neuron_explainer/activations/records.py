"""What is known of one neuron, attention head or latent: examples of text with its activations, and statistics."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuron_explainer.activations.attention_utils import attended_window
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError

if TYPE_CHECKING:
    import pandas as pd

ExampleKind = Literal["top", "random", "quantile"]

_TOP_SPLITS = ("train", "calibration", "valid", "test")
_RANDOM_SPLITS = ("calibration", "valid", "test")


@dataclass(frozen=True)
class NeuronId:
    """Which component it is: the layer, and the neuron, attention head or latent within it; both count from 0."""

    layer_index: int
    neuron_index: int

    def __post_init__(self) -> None:
        for name in ("layer_index", "neuron_index"):
            value = getattr(self, name)
            if isinstance(value, np.integer):
                value = int(value)
                object.__setattr__(self, name, value)
            if type(value) is not int or value < 0:
                raise MalformedRecordError(f"{name} must be a whole number from 0 on, not {value!r}")

    def __str__(self) -> str:
        return f"{self.layer_index}:{self.neuron_index}"


@dataclass(frozen=True)
class ActivationRecord:
    """A piece of text and what the component did on it.

    Attributes:
        tokens: the text, token by token.
        activations: one float a token; or one a token pair, as `attention_utils` lays them out.

    Raises:
        MalformedRecordError: the numbers of tokens and activations do not fit each other, an activation is not finite,
            a token is no text.
    """

    tokens: list[str]
    activations: list[float]

    def __post_init__(self) -> None:
        if type(self.tokens) is not list:  # an array, a tuple, …
            object.__setattr__(
                self, "tokens", [str(token) if isinstance(token, str) else token for token in self.tokens]
            )
        if type(self.activations) is not list:
            object.__setattr__(self, "activations", _as_floats(self.activations))
        if len(self.activations) != len(self.tokens):
            try:
                attended_window(len(self.tokens), len(self.activations))
            except InvalidRequestError as error:
                raise MalformedRecordError(str(error)) from None
        _check_tokens(self.tokens)
        if type(_sum_of_finite(self.activations)) is not float:  # numpy's numbers, or whole ones
            object.__setattr__(self, "activations", _as_floats(self.activations))

    @property
    def max_activation(self) -> float | None:
        """The largest activation; None where there is no token."""
        return max(self.activations, default=None)

    @property
    def is_by_token_pair(self) -> bool:
        """Whether there are more activations than tokens; the record that it belongs to knows better."""
        return len(self.activations) != len(self.tokens)

    def _repr_html_(self) -> str:
        from neuron_explainer.views.heatmap import token_heatmap
        from neuron_explainer.views.token_pairs import pair_view

        return pair_view(self) if self.is_by_token_pair else token_heatmap(self.tokens, self.activations)


def _check_tokens(tokens: list[str]) -> None:
    try:
        "".join(tokens).encode()
    except TypeError:
        wrong = next(token for token in tokens if not isinstance(token, str))
        raise MalformedRecordError(f"a token must be text, not {wrong!r}") from None
    except UnicodeEncodeError:
        raise MalformedRecordError("a token holds half of a surrogate pair, which is no character") from None


def _as_floats(values: Iterable[float]) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise MalformedRecordError(f"activations must be numbers: {error}") from None


def _sum_of_finite(activations: list[float]) -> float:
    """The sum; it tells at once of most lists that all is well."""
    try:
        total = sum(activations)
        if math.isfinite(total):  # a sum can also overflow, so a sum that is not finite proves nothing
            return total
        wrong = next((place for place, value in enumerate(activations) if not math.isfinite(value)), None)
    except (TypeError, OverflowError) as error:
        raise MalformedRecordError(f"activations must be numbers: {error}") from None
    if wrong is not None:
        raise MalformedRecordError(f"activation {wrong} is {activations[wrong]}, and activations must be finite")
    return total


@dataclass(frozen=True)
class Histogram:
    """How often which activation was met: `counts[i]` of them lay from `edges[i]` to `edges[i + 1]`."""

    edges: list[float]
    counts: list[int]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1:
            raise MalformedRecordError(f"{len(self.counts)} counts need one more edge than {len(self.edges)}")
        _sum_of_finite(self.edges)
        if any(low > high for low, high in pairwise(self.edges)):
            raise MalformedRecordError("a histogram's edges must ascend")
        if not all(0 <= count < 2**63 for count in self.counts):
            raise MalformedRecordError("a histogram's counts must be whole numbers from 0 to 2^63 - 1")


@dataclass(frozen=True)
class ActivationRecordSliceParams:
    """How a record's examples are divided into splits.

    Attributes:
        n_examples_per_split: how many top examples, and how many random ones, go into each split that has some of
            them; None: as many as there are for all splits to be of one size.
    """

    n_examples_per_split: int | None = None


@dataclass(frozen=True, repr=False)
class NeuronRecord:
    """What is known of one neuron, attention head or latent.

    Attributes:
        neuron_id: which one it is.
        random_sample: examples drawn at random from the corpus.
        random_sample_by_quantile: examples drawn from buckets of its activation, one list a bucket.
        quantile_boundaries: the activations that divide the buckets.
        mean, variance, skewness, kurtosis: of its activation over the corpus, None where unknown; the kurtosis of a
            normal distribution is 3.
        most_positive_activation_records: the examples with the highest activations, the highest first.
        activation_frequency: the share of the corpus's tokens (or token pairs) on which it is above 0; None if unknown.
        histogram: of its activation over the corpus; None if unknown.
        source: the file or address it was read from; None for one made in memory. Not part of what makes two equal.

    Raises:
        MalformedRecordError: some examples hold one activation a token and others one a token pair.
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

    def __post_init__(self) -> None:
        by_pair = self.is_by_token_pair
        for kind, _, place, example in self.examples():
            # One token makes one pair, so such an example is both.
            if by_pair and not example.is_by_token_pair and len(example.tokens) > 1:
                raise MalformedRecordError(
                    f"{kind} example {place} has one activation a token, others have one a token pair"
                )
        for boundary in self.quantile_boundaries or ():
            if not math.isfinite(boundary):
                raise MalformedRecordError(f"quantile boundary {boundary} is not finite")

    @property
    def is_by_token_pair(self) -> bool:
        """Whether activations are one a token pair (an attention head, a token-pair latent), not one a token."""
        return any(example.is_by_token_pair for _, _, _, example in self.examples())

    @property
    def max_activation(self) -> float | None:
        """The largest activation of the top examples; None where there are none."""
        tops = (example.max_activation for example in self.most_positive_activation_records)
        return max((top for top in tops if top is not None), default=None)

    def examples(self) -> Iterator[tuple[ExampleKind, int | None, int, ActivationRecord]]:
        """Every example as (kind, bucket, place, example): the kind is "top", "random" or "quantile".

        The bucket of a quantile example counts from 0; others have None. The place counts within kind and bucket.
        """
        for place, example in enumerate(self.most_positive_activation_records):
            yield "top", None, place, example
        for place, example in enumerate(self.random_sample):
            yield "random", None, place, example
        for bucket, examples in enumerate(self.random_sample_by_quantile or ()):
            for place, example in enumerate(examples):
                yield "quantile", bucket, place, example

    def train_activation_records(self, params: ActivationRecordSliceParams | None = None) -> list[ActivationRecord]:
        """The examples to explain the neuron from: every fourth top example."""
        return self._split("train", params)

    def calibration_activation_records(
        self, params: ActivationRecordSliceParams | None = None
    ) -> list[ActivationRecord]:
        """The examples to calibrate a simulation with: every fourth top example and every third random one."""
        return self._split("calibration", params)

    def valid_activation_records(self, params: ActivationRecordSliceParams | None = None) -> list[ActivationRecord]:
        """The examples to choose an explanation by: every fourth top example and every third random one."""
        return self._split("valid", params)

    def test_activation_records(self, params: ActivationRecordSliceParams | None = None) -> list[ActivationRecord]:
        """The examples to score an explanation with: every fourth top example and every third random one."""
        return self._split("test", params)

    def _split(self, name: str, params: ActivationRecordSliceParams | None) -> list[ActivationRecord]:
        size = params.n_examples_per_split if params is not None else None
        chosen = _every_nth(self.most_positive_activation_records, _TOP_SPLITS, name, size, "top")
        if name in _RANDOM_SPLITS:
            chosen += _every_nth(self.random_sample, _RANDOM_SPLITS, name, size, "random")
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """The record as its JSON file holds it, in the public datasets' spelling."""
        from neuron_explainer.activations.record_json import record_to_dict

        return record_to_dict(self)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a token, or a token pair, of every example; see `record_tables.record_to_dataframe`."""
        from neuron_explainer.activations.record_tables import record_to_dataframe

        return record_to_dataframe(self)

    def __repr__(self) -> str:
        buckets = self.random_sample_by_quantile or []
        counts = [
            f"{len(self.most_positive_activation_records)} top",
            f"{len(self.random_sample)} random",
            *([f"{sum(map(len, buckets))} in {len(buckets)} quantiles"] if buckets else []),
        ]
        by = "token pair" if self.is_by_token_pair else "token"
        highest = "" if self.max_activation is None else f", max {self.max_activation:.4g}"
        return f"<NeuronRecord {self.neuron_id}: {', '.join(counts)} examples by {by}{highest}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.record_page import record_to_html

        return record_to_html(self)


def _every_nth(
    examples: Sequence[ActivationRecord], splits: Sequence[str], split: str, size: int | None, kind: str
) -> list[ActivationRecord]:
    """A split's interleaved share of the examples; what does not divide evenly is in no split."""
    stride = len(splits)
    if size is None:
        size = len(examples) // stride
    if size < 0 or size * stride > len(examples):
        raise InvalidRequestError(
            f"{stride} splits of {size} {kind} examples were asked for, and there are {len(examples)}: "
            f"ask for 0 to {len(examples) // stride} a split."
        )
    return list(examples[splits.index(split) : size * stride : stride])
