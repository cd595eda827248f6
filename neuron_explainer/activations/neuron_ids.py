"""Which component a record is about, and the check that every layer and component index passes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsIndex

from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, NeuronExplainerError
from neuron_explainer.vocabulary.checks import whole_number

MAX_INDEX = 2**31 - 1


def checked_index(
    name: str, index: object, error: type[NeuronExplainerError] = InvalidRequestError, *, digits: bool = False
) -> int:
    """A layer or component index as a plain int.

    Args:
        name: what the error calls it: "layer", "neuron_index".
        index: an int, or a NumPy or torch integer.
        error: the class of the error.
        digits: whether text such as "12" is taken as well, as older files and older code have it.

    Raises:
        InvalidRequestError (or `error`): it is not a whole number from 0 to 2³¹ − 1.

    >>> checked_index("layer", "12", digits=True)
    12
    """
    if digits and isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 20:
        number: int | None = int(index)
    else:
        number = whole_number(index)
    if number is None or number < 0:
        is_long = isinstance(index, int) and index < -MAX_INDEX  # Python refuses to print very long ones
        raise error(
            f"{name} must be 0 or a positive whole number, not {'a negative one' if is_long else repr(index):.40}"
        )
    if number > MAX_INDEX:
        raise error(f"{name} is too large: it must be at most {MAX_INDEX}")
    return number


@dataclass(frozen=True)
class NeuronId:
    """A component of a model: its layer, and the index of the neuron, attention head or latent in it; both from 0.

    NumPy and torch integers are taken as well.

    Raises:
        MalformedRecordError: an index is negative or not a whole number.

    >>> str(NeuronId(layer_index=2, neuron_index=5))
    '2:5'
    """

    layer_index: int
    neuron_index: int

    if TYPE_CHECKING:

        def __init__(self, layer_index: SupportsIndex, neuron_index: SupportsIndex) -> None: ...

    def __post_init__(self) -> None:
        for name in ("layer_index", "neuron_index"):
            object.__setattr__(self, name, checked_index(name, getattr(self, name), MalformedRecordError))

    def __str__(self) -> str:
        return f"{self.layer_index}:{self.neuron_index}"
