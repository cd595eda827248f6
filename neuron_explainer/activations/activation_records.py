"""The parts of a neuron record: one example (text with activations) and the histogram of activations."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, SupportsFloat

from neuron_explainer.activations.attention_utils import attended_window
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, shown


@dataclass(frozen=True)
class ActivationRecord:
    """One example: the tokens of a text, and a component's activations on them.

    Displayed in a notebook as a heatmap of the text, or as token pairs.

    Attributes:
        tokens: the text, token by token; (tokens,).
        activations: one float per token, (tokens,), or one per token pair, (pairs,), in the order that
            `attention_utils` describes.

    Raises:
        MalformedRecordError: the number of activations does not fit the number of tokens, an activation is not finite,
            or a token is not a str.

    >>> ActivationRecord(["Hello", " world"], [0.5, 2.0]).max_activation
    2.0
    """

    tokens: list[str]
    activations: list[float]

    if TYPE_CHECKING:  # arrays and tuples are taken as well

        def __init__(self, tokens: Iterable[str], activations: Iterable[SupportsFloat]) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.tokens, Iterable) or not isinstance(self.activations, Iterable):
            raise MalformedRecordError("an example needs a list of tokens and a list of activations")
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
        if type(_sum_of_finite(self.activations)) is not float:  # NumPy numbers or ints
            object.__setattr__(self, "activations", _as_floats(self.activations))

    @property
    def max_activation(self) -> float | None:
        """The largest activation; None for an example without tokens."""
        return max(self.activations, default=None)

    @property
    def is_by_token_pair(self) -> bool:
        """Whether there are more activations than tokens.

        False for one token, which is also one pair; `NeuronRecord.is_by_token_pair` looks at all examples.
        """
        return len(self.activations) != len(self.tokens)

    def _repr_html_(self) -> str:
        from neuron_explainer.views.heatmap import token_heatmap
        from neuron_explainer.views.token_pairs import pair_view

        return pair_view(self) if self.is_by_token_pair else token_heatmap(self.tokens, self.activations)


@dataclass(frozen=True)
class Histogram:
    """Counts of activations per bin: `counts[i]` activations lie between `edges[i]` and `edges[i + 1]`.

    Attributes:
        edges: the bins' edges, ascending; (bins + 1,).
        counts: how many activations each bin has; (bins,).

    Raises:
        MalformedRecordError: the lengths do not fit, the edges do not ascend or are not finite, a count is not a whole
            number from 0 to 2⁶³ − 1.
    """

    edges: list[float]
    counts: list[int]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1:
            raise MalformedRecordError(
                f"a histogram must have one more edge than counts ({len(self.counts) + 1}), not {len(self.edges)}"
            )
        _sum_of_finite(self.edges)
        if any(low > high for low, high in pairwise(self.edges)):
            raise MalformedRecordError("a histogram's edges must ascend")
        if not all(0 <= count < 2**63 for count in self.counts):
            raise MalformedRecordError("a histogram's counts must be whole numbers from 0 to 2^63 - 1")


def _check_tokens(tokens: list[str]) -> None:
    try:
        "".join(tokens).encode()
    except TypeError:
        wrong = next(token for token in tokens if not isinstance(token, str))
        raise MalformedRecordError(f"tokens must be text, not {shown(wrong)}") from None
    except UnicodeEncodeError:
        raise MalformedRecordError("a token contains half of a surrogate pair, which is not valid text") from None


def _as_floats(values: Iterable[float]) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # a meta tensor has no numbers
        raise MalformedRecordError(f"activations must be numbers: {error}") from None


def _sum_of_finite(numbers: list[float]) -> float:
    """The sum of numbers that must all be finite. Most lists pass by their sum alone, which is quick."""
    try:
        total = sum(numbers)
        if math.isfinite(total):
            return total
        # Finite numbers can overflow to an infinite sum, so look at each.
        wrong = next((position for position, number in enumerate(numbers) if not math.isfinite(number)), None)
    except (TypeError, OverflowError) as error:
        raise MalformedRecordError(f"activations must be numbers: {error}") from None
    if wrong is not None:
        raise MalformedRecordError(f"activation {wrong} is {numbers[wrong]}; activations must be finite")
    return total
