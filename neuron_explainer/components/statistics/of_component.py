"""`ComponentStatistics`: what a component does over a dataset, from its record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

import numpy as np

from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.statistics.dead_and_dense import DENSE_ABOVE, checked_share, is_dead, is_dense
from neuron_explainer.components.statistics.examples import (
    StoredExample,
    TokensOfExamples,
    stored_examples,
    used,
)
from neuron_explainer.components.statistics.histograms import histogram_of
from neuron_explainer.errors import InvalidRequestError, UnknownNameError
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import Component

_BY = ("mean", "max")
_MOMENTS = ("max", "mean", "variance", "standard_deviation", "skewness", "kurtosis", "frequency")


@dataclass(frozen=True, repr=False)
class ComponentStatistics:
    """The statistics of one neuron, head or latent over its dataset. `Component.statistics` gives them.

    Attributes:
        record: its record.
        examples: the stored examples, with their places in the texts where the dataset says them.
        dense_above: above which share of tokens it is called dense.

    >>> import neuron_explainer as ne
    >>> statistics = ne.component("tiny", "L1N355").statistics
    >>> statistics.frequency == statistics.record.activation_frequency
    True
    """

    record: NeuronRecord
    examples: list[StoredExample] = field(default_factory=list)
    dense_above: float = DENSE_ABOVE

    @classmethod
    def of(cls, component: Component, dense_above: SupportsFloat = DENSE_ABOVE) -> ComponentStatistics:
        """The statistics of a component.

        Raises:
            NotAtHandError: the component has no dataset.
            InvalidRequestError: `dense_above` is not a share from 0 to 1.
        """
        share = checked_share("dense_above", dense_above)
        record = component.record
        return cls(record, stored_examples(record, component.at_hand.dataset, component.dst), share)

    @property
    def max(self) -> float | None:
        """The largest activation of the top examples."""
        return self.record.max_activation

    @property
    def mean(self) -> float | None:
        """The mean activation over the corpus."""
        return self.record.mean

    @property
    def variance(self) -> float | None:
        """The variance over the corpus."""
        return self.record.variance

    @property
    def standard_deviation(self) -> float | None:
        """The square root of the variance; None if it is unknown or negative."""
        variance = self.record.variance
        return None if variance is None or variance < 0 else math.sqrt(variance)

    @property
    def skewness(self) -> float | None:
        """0 for a symmetric distribution."""
        return self.record.skewness

    @property
    def kurtosis(self) -> float | None:
        """3 for a normal distribution."""
        return self.record.kurtosis

    @property
    def frequency(self) -> float | None:
        """The share, 0 to 1, of tokens or token pairs on which the activation is above 0; None if it is unknown."""
        return self.record.activation_frequency

    @property
    def is_dead(self) -> bool | None:
        """Of a latent: whether it is never above 0; None of other components, or if nothing tells it."""
        return is_dead(self.record)

    @property
    def is_dense(self) -> bool | None:
        """Of a latent: whether it is above 0 on more than `dense_above` of the tokens; None as for `is_dead`."""
        return is_dense(self.record, self.dense_above)

    def log_histogram(self) -> pandas.DataFrame:
        """The histogram: low, high, count, log10_count (NaN where the count is 0).

        A record without a histogram gets that of its random examples; `attrs["counted"]` says what is counted.

        Raises:
            InvalidRequestError: the record has neither.
        """
        shown = histogram_of(self.record)
        if shown is None:
            raise InvalidRequestError(f"{self.record!r} has no histogram, and no random examples to make one from.")
        counts = np.array(shown.histogram.counts, dtype=np.float64)
        logs = np.log10(np.where(counts > 0, counts, np.nan))
        edges = shown.histogram.edges
        table = TokenTable({"low": edges[:-1], "high": edges[1:], "count": shown.histogram.counts, "log10_count": logs})
        table.attrs["counted"] = shown.counted
        return table

    def quantiles(self) -> pandas.DataFrame:
        """The groups of random examples by their peaks: bucket, low, high, n_examples, lowest_peak, highest_peak.

        `low` and `high` are the stored boundaries; NaN where a bucket has none on that side.
        """
        buckets, bounds = self.record.random_sample_by_quantile or [], self.record.quantile_boundaries or []
        # Datasets store each bucket's upper boundary; some leave out the last, or begin with the lowest.
        highs = bounds[1:] if len(bounds) == len(buckets) + 1 else bounds
        lows = bounds if len(bounds) == len(buckets) + 1 else [math.nan, *bounds]
        rows = []
        for number, examples in enumerate(buckets):
            peaks = [peak for each in examples if (peak := each.max_activation) is not None]
            rows.append(
                {
                    "bucket": number,
                    "low": lows[number] if number < len(lows) else math.nan,
                    "high": highs[number] if number < len(highs) else math.nan,
                    "n_examples": len(examples),
                    "lowest_peak": min(peaks, default=math.nan),
                    "highest_peak": max(peaks, default=math.nan),
                }
            )
        return TokenTable(rows, columns=["bucket", "low", "high", "n_examples", "lowest_peak", "highest_peak"])

    def tokens(self, n: SupportsIndex = 20, by: str = "mean", examples: str = "all") -> pandas.DataFrame:
        """The tokens on which it is most active, in the stored examples: token, mean, max, count.

        Each place in the texts counts once. Of token pairs a token's activation is the largest with which it attends.

        Args:
            n: how many tokens.
            by: "mean" or "max".
            examples: "all", "top", or "random" (top examples raise the mean).

        Raises:
            UnknownNameError: `by` or `examples` is unknown.
            InvalidRequestError: `n` is not a whole number above 0.
        """
        count = checked_number("n", n)
        if by not in _BY:
            raise UnknownNameError("order of tokens", str(by), _BY)
        found = TokensOfExamples.of(used(self.examples, examples))
        of_token: dict[str, list[float]] = {}
        for token, value in zip(found.tokens, found.values.tolist(), strict=True):
            of_token.setdefault(token, []).append(value)
        rows = [(token, math.fsum(each) / len(each), max(each), len(each)) for token, each in of_token.items()]
        rows.sort(key=lambda row: (-(row[1] if by == "mean" else row[2]), -row[3], row[0]))
        return TokenTable(rows[:count], columns=["token", "mean", "max", "count"])

    def positions(self, bins: SupportsIndex = 10, examples: str = "random") -> pandas.DataFrame:
        """Where in a text it is active: first, last (positions from 0), n_tokens, mean, share_active.

        Positions are those in the dataset's sequences; of JSON records, which do not say them, those in the example;
        `attrs["positions"]` says which.

        Args:
            bins: how many ranges of positions, of equal length.
            examples: "random", "top" or "all".

        Raises:
            UnknownNameError: `examples` is unknown.
            InvalidRequestError: `bins` is not a whole number above 0.
        """
        n_bins = checked_number("bins", bins)
        chosen = used(self.examples, examples)
        found = TokensOfExamples.of(chosen)
        rows = []
        length = int(found.positions.max()) + 1 if len(found.positions) else 0
        edges = np.unique(np.linspace(0, length, n_bins + 1).round().astype(np.int64))
        for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            here = found.values[(found.positions >= first) & (found.positions < end)]
            rows.append(
                {
                    "first": first,
                    "last": end - 1,
                    "n_tokens": len(here),
                    "mean": float(here.mean()) if len(here) else math.nan,
                    "share_active": float((here > 0).mean()) if len(here) else math.nan,
                }
            )
        table = TokenTable(rows, columns=["first", "last", "n_tokens", "mean", "share_active"])
        in_sequence = any(each.sequence is not None for each in chosen)
        table.attrs["positions"] = "in the sequence" if in_sequence else "in the example"
        return table

    def distances(self, examples: str = "random") -> pandas.DataFrame:
        """Of token pairs: how far back it attends: distance, n_pairs, mean, share_active.

        Raises:
            InvalidRequestError: it has one activation per token.
            UnknownNameError: `examples` is unknown.
        """
        if not self.record.is_by_token_pair:
            raise InvalidRequestError(f"{self.record!r} has one activation per token, so its tokens have no distances.")
        values: dict[int, list[float]] = {}
        for each in used(self.examples, examples):
            square = np.asarray(unflatten(each.example.activations, len(each.example.tokens)), dtype=np.float64)
            for row, column in zip(*np.nonzero(~np.isnan(square)), strict=True):
                values.setdefault(int(row - column), []).append(float(square[row, column]))
        rows = [
            {
                "distance": distance,
                "n_pairs": len(found),
                "mean": float(np.mean(found)),
                "share_active": float(np.mean(np.array(found) > 0)),
            }
            for distance, found in sorted(values.items())
        ]
        return TokenTable(rows, columns=["distance", "n_pairs", "mean", "share_active"])

    def to_dict(self) -> dict[str, Any]:
        """The single numbers by name; None for what is unknown."""
        return {name: getattr(self, name) for name in (*_MOMENTS, "is_dead", "is_dense")}

    def to_dataframe(self) -> pandas.DataFrame:
        """The known single numbers: name, value."""
        known = {name: value for name, value in self.to_dict().items() if value is not None}
        return TokenTable({"name": list(known), "value": list(known.values())})

    def __repr__(self) -> str:
        known = {name: value for name in _MOMENTS if (value := getattr(self, name)) is not None}
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in known.items())
        return f"<ComponentStatistics {self.record.neuron_id}: {numbers}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.components.statistics import component_statistics_html

        return component_statistics_html(self)
