"""What to overwrite while a model runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex

from neuron_explainer.activations.derived_scalars.index_fields import JsonForm, SizeOf, whole_axis
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex
from neuron_explainer.errors import InvalidIndexError, shown
from neuron_explainer.vocabulary.checks import finite_number, whole_number
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


@dataclass(frozen=True, repr=False)
class AblationSpec(JsonForm):
    """Numbers to overwrite while the model runs: activations, or gradients if the index is BACKWARD.

    An attention weight (ATTN_QK_PROBS) is overwritten after the softmax: the rest of its row stays as it was, and is
    not normalised again. For a tensor of numbers, or another prompt's activations, there is TensorAblation.

    Attributes:
        index: what is overwritten.
        value: the number that is written. "mean" stands for each component's mean activation over the tokens of a
            sample of texts; see `TensorAblation.mean`, which takes texts of your own.
        tokens: the positions to overwrite, where the index has "All" on its token axis (of pairs: on the axis of tokens
            attended from). None: as the index says. JSON has this field only where positions are given.

    Raises:
        InvalidIndexError: `index` is not an ActivationIndex; `value` is neither a finite number nor "mean", or the
            numbers have no mean (those of gradients, of pairs of tokens); or `tokens` are not positions, each once,
            beside "All".

    >>> AblationSpec(ActivationIndex("mlp.post_act", 5, ("All", 131)), 0).value
    0.0
    >>> AblationSpec(ActivationIndex("mlp.post_act", 5, ("All", 131)), "mean", tokens=[3, 4]).tokens
    (3, 4)
    """

    index: ActivationIndex
    value: float | Literal["mean"]
    tokens: tuple[int, ...] | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            index: ActivationIndex,
            value: SupportsFloat | Literal["mean"],
            tokens: Iterable[SupportsIndex] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_index_and_tokens(self)
        if isinstance(self.value, str) and self.value == "mean":
            check_has_mean(self.index)
            return
        number = finite_number(self.value)
        if number is None:
            raise InvalidIndexError(
                f'AblationSpec: value must be a finite number or "mean", not {shown(self.value)}. For several numbers '
                "use TensorAblation."
            )
        object.__setattr__(self, "value", number)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values; `tokens` only where positions are given."""
        fields = super().to_json()
        return {name: value for name, value in fields.items() if name != "tokens" or value is not None}

    @classmethod
    def _value_from_json(cls, field: str, value: Any) -> Any:
        return ActivationIndex.from_json(value) if field == "index" else value

    def check_against(self, n_layers: int, size_of: SizeOf) -> None:
        """Check the index as `ActivationIndex.check_against` does."""
        self.index.check_against(n_layers, size_of)


def check_index_and_tokens(ablation: Any) -> None:
    """Refuse an ablation's `index` or `tokens` if they are wrong; positions are set as plain ints, in a tuple.

    Raises:
        InvalidIndexError: `index` is not an ActivationIndex, or `tokens` are not positions, each once, beside "All".
    """
    name = type(ablation).__name__
    if not isinstance(ablation.index, ActivationIndex):
        raise InvalidIndexError(f"{name}: index must be an ActivationIndex, not {shown(ablation.index)}.")
    if ablation.tokens is None:
        return
    given = ablation.tokens
    is_several = isinstance(given, Iterable) and not isinstance(given, str | bytes) and whole_number(given) is None
    numbers = [whole_number(token) for token in given] if is_several else [None]
    tokens = tuple(number for number in numbers if number is not None and number >= 0)
    if not numbers or len(set(tokens)) < len(numbers):
        raise InvalidIndexError(
            f"{name}: tokens is {shown(ablation.tokens)}. Give a list of positions, each once, counted from 0; or None "
            "for what the index says."
        )
    if not whole_axis(ablation.index.tensor_indices[0]):
        raise InvalidIndexError(
            f"{name}: tokens is given, and {ablation.index!r} names token {ablation.index.tensor_indices[0]}. Write "
            '"All" there, or leave tokens out.'
        )
    object.__setattr__(ablation, "tokens", tokens)


def check_has_mean(index: ActivationIndex) -> None:
    """Refuse the mean of a gradient.

    Raises:
        InvalidIndexError: the index is BACKWARD, or `check_place_has_mean` refuses its place.
    """
    if index.pass_type is PassType.BACKWARD:
        raise InvalidIndexError(f"{index!r} is a gradient; only activations have a mean over texts. Give a number.")
    check_place_has_mean(index.activation_location_type)


def check_place_has_mean(place: ActivationLocationType) -> None:
    """Refuse the mean at a place whose numbers belong to pairs of tokens.

    Raises:
        InvalidIndexError: it is such a place.
    """
    if Dimension.ATTENDED_TO_SEQUENCE_TOKENS in place.shape:
        raise InvalidIndexError(
            f"{place.value} has no mean over texts: its numbers belong to pairs of tokens, and mean something else in "
            "each text. Give a number; or another prompt's numbers, with TensorAblation.from_prompt; or ablate the "
            f"head's {ActivationLocationType.ATTN_WEIGHTED_SUM_OF_VALUES.value} with its mean."
        )
